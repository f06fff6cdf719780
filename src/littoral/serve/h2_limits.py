"""What one HTTP/2 connection may cost: sizes, counts and rates, each with a bound."""

from __future__ import annotations

from dataclasses import dataclass

from littoral.core.clock import Clock
from littoral.serve.h2_frames import ConnectionFault, ErrorCode

_CONTROLS_FREE_PER_REQUEST = 4


@dataclass(frozen=True, slots=True)
class H2Limits:
    """Bounds of one connection.

    `stream_window_bytes` is what a peer may send on one stream before we grant more; with less than a whole message a
    large request would wait for a round trip. Control frames are those that move no request forward (PING, SETTINGS,
    PRIORITY, empty frames, unknown kinds); resets are requests that a peer began and took back.
    """

    streams_max: int = 1024
    stream_window_bytes: int = 64 * 1024 * 1024 + 64 * 1024
    connection_window_bytes: int = 128 * 1024 * 1024
    frame_bytes_max: int = 1024 * 1024
    header_block_bytes_max: int = 16 * 1024
    header_list_bytes_max: int = 32 * 1024
    continuations_max: int = 16
    control_frames_burst_max: int = 2000
    control_frames_per_s_max: float = 200.0
    resets_burst_max: int = 1000
    resets_per_s_max: float = 50.0


class Bucket:
    """Tokens that come back with time: a bound on a rate that allows bursts."""

    def __init__(self, clock: Clock, *, burst: int, per_s: float) -> None:
        self._clock = clock
        self._burst = float(burst)
        self._per_s = per_s
        self._level = float(burst)
        self._filled_s = clock.monotonic_s()

    def take(self) -> bool:
        """Takes one token; False where there is none. The clock is read only when the bucket seems empty."""
        if self._level < 1.0:
            now_s = self._clock.monotonic_s()
            self._level = min(self._burst, self._level + (now_s - self._filled_s) * self._per_s)
            self._filled_s = now_s
            if self._level < 1.0:
                return False
        self._level -= 1.0
        return True


class Patience:
    """How much a peer may ask for that moves no request forward. Each method raises `ConnectionFault` at the limit."""

    def __init__(self, limits: H2Limits, clock: Clock) -> None:
        self.requests = 0
        self._controls = 0
        self._controls_left = Bucket(
            clock, burst=limits.control_frames_burst_max, per_s=limits.control_frames_per_s_max
        )
        self._resets_left = Bucket(clock, burst=limits.resets_burst_max, per_s=limits.resets_per_s_max)

    def count_control(self, sent_bytes: int) -> None:
        """A frame that moves no request. A few for each request, and two for each kilobyte sent, are free."""
        self._controls += 1
        free = self.requests * _CONTROLS_FREE_PER_REQUEST + (sent_bytes >> 9)
        if self._controls > free and not self._controls_left.take():
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many control frames")

    def count_reset(self) -> None:
        """A request that came to nothing."""
        if not self._resets_left.take():
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many streams begun and given up")
