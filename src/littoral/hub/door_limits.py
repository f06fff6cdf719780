"""What the hub's door allows: times, sizes, numbers; each with its bound."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """`head_s_max`: a request's head, whole. `body_idle_s_max`: the longest pause in a body. `body_bytes_per_s_min`: a
    body's rate once `body_grace_s` are over. `idle_s_max`: between two requests. `write_s_max`: a peer that takes
    nothing of an answer. `stream_check_s`: between two looks at whether a stream's reader may still read it.
    """

    connections_max: int = 8_192
    head_s_max: float = 10.0
    head_bytes_max: int = 32 * 1024
    body_idle_s_max: float = 20.0
    body_grace_s: float = 20.0
    body_bytes_per_s_min: float = 512.0
    idle_s_max: float = 75.0
    write_s_max: float = 30.0
    json_bytes_max: int = 1 << 20
    wait_s_max: float = 60.0
    followers_max: int = 256
    stream_check_s: float = 15.0


LIMITS = DoorLimits()
