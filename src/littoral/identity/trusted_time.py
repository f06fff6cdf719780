"""The time as well as a site can know it: the hub's signed word, carried on by a clock that only counts seconds."""

from __future__ import annotations

from littoral.core.clock import Clock


class TrustedTime:
    """Seconds since 1970 in UTC, better than the machine's clock where the hub has said what they are.

    Until then it is the machine's clock, but never earlier than the hub's own signature on the site's certificate.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._floor_s = 0.0
        self._learnt: tuple[float, float] | None = None

    def now_s(self) -> float:
        """The time."""
        if self._learnt is not None:
            hub_s, at_s = self._learnt
            return hub_s + self._clock.monotonic_s() - at_s
        return max(self._clock.wall_s(), self._floor_s)

    def learn(self, hub_s: float) -> None:
        """Takes the hub's word, which the caller has verified."""
        self._learnt = (hub_s, self._clock.monotonic_s())

    def not_before(self, floor_s: float) -> None:
        """Takes note that this moment has passed."""
        self._floor_s = max(self._floor_s, floor_s)
