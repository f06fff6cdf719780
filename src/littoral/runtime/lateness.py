"""How late this event loop does what was due: what must be left of a deadline when an answer is decided."""

from __future__ import annotations

FLOOR_S = 0.003  # even an idle loop has an answer to write
SEEN_S_MAX = 0.1  # more is one hiccup of the machine, and not what every request must pay for


class Lateness:
    """A running mean and mean deviation (as Jacobson has it for round trips, "Congestion Avoidance and Control", 1988).

    An answer passes the loop about twice more before it is out of the door.
    """

    def __init__(self) -> None:
        self._mean_s = self._deviation_s = 0.0

    @property
    def margin_s(self) -> float:
        """What to keep back of a deadline."""
        return FLOOR_S + 2 * self._mean_s + 4 * self._deviation_s

    def saw(self, late_s: float) -> None:
        """Something was done so late."""
        off_s = min(max(late_s, 0.0), SEEN_S_MAX) - self._mean_s
        self._mean_s += off_s / 8
        self._deviation_s += (abs(off_s) - self._deviation_s) / 4
