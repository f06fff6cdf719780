"""What one peer may ask of the HTTP door: sizes, counts and times, each with a bound."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of the HTTP door.

    `body_bytes_max` holds for a body as it is sent and, where it is compressed, as it is inflated; `held_bytes_max` for
    all bodies together that are still arriving. JSON has its own, lower bound, because a parsed number takes up to
    sixteen times the bytes it had as text. A request must arrive in `request_s_max` seconds, plus the time its bytes
    take at `rate_bytes_s_min`, and an answer must be read likewise in `write_s_max`: a slow link may carry a large
    body, a peer that only drips is cut off. A connection without a request is closed after `idle_s_max`. After a
    refusal the door reads on for `linger_s_max`, so that the peer sees the answer.
    """

    body_bytes_max: int = 64 * 2**20
    held_bytes_max: int = 512 * 2**20
    json_bytes_max: int = 16 * 2**20
    head_bytes_max: int = 16 * 2**10
    headers_count_max: int = 100
    target_bytes_max: int = 4096
    connections_max: int = 16_384
    request_s_max: float = 30.0
    rate_bytes_s_min: float = 10_000.0
    idle_s_max: float = 120.0
    write_s_max: float = 30.0
    linger_s_max: float = 2.0


LIMITS = HttpLimits()
"""The defaults."""
