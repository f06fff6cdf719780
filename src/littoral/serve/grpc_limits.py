"""What the gRPC door allows: sizes, counts and patience, each with a bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from littoral.serve.h2_frames import WINDOW_MAX
from littoral.serve.h2_limits import H2Limits

Admit = Callable[[str | None], bool]
"""Whether a caller with this key (None: it sent none) may come in."""


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """Bounds of one door.

    `message_bytes_max` holds in both directions. `receive_bytes_max` is what all requests that are still arriving may
    take together, `unread_bytes_max` what a client may leave unread of its answers and still ask for more. `calls_max`
    are the calls of one connection. `receive_s_max` is the time a message may take to arrive, `stall_s_max` how long a
    client may leave its answers unread, `handshake_s_max` how long it may take to say that it speaks HTTP/2.
    """

    message_bytes_max: int = 64 * 1024 * 1024
    receive_bytes_max: int = 512 * 1024 * 1024
    unread_bytes_max: int = 128 * 1024 * 1024
    calls_max: int = 1024
    connections_max: int = 20_000
    handshake_s_max: float = 10.0
    receive_s_max: float = 120.0
    stall_s_max: float = 30.0

    @property
    def period_s(self) -> float:
        """How often connections are looked at: often enough that none overstays by more than a quarter."""
        return min(self.handshake_s_max, self.receive_s_max, self.stall_s_max) / 4

    def h2(self) -> H2Limits:
        """The bounds of one connection that follow: a whole message fits into a stream's window."""
        window = min(WINDOW_MAX, max(self.message_bytes_max + 64 * 1024, 1024 * 1024))
        return H2Limits(
            streams_max=self.calls_max,
            stream_window_bytes=window,
            connection_window_bytes=min(WINDOW_MAX, 2 * window),
        )
