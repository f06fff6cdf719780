"""The pace of a stream, and when a link counts as metered: how much may be sent now, and whether at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf, isinf

from littoral.core.errors import Invalid

RESERVE_S = 1.0  # a stream that was silent may send so many seconds' worth at once
_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY_S = 86_400


@dataclass(slots=True)
class Pace:
    """A rate that holds on average: what is taken beyond what is left becomes a debt, paid by waiting."""

    per_s: float
    _left: float = 0.0
    _seen_s: float = -inf

    def left(self, *, now_s: float) -> float:
        """How much may go now; nothing or less where a debt is being paid."""
        if isinf(self.per_s):
            return inf
        reserve = self.per_s * RESERVE_S
        if self._seen_s == -inf:
            self._left = reserve
        else:
            self._left = min(reserve, self._left + max(0.0, now_s - self._seen_s) * self.per_s)
        self._seen_s = max(self._seen_s, now_s)
        return self._left

    def take(self, amount: float, *, now_s: float) -> None:
        """So much went, even where less was left."""
        if not isinf(self.per_s):
            self._left = self.left(now_s=now_s) - amount

    def ready_s(self, *, now_s: float) -> float:
        """When something may go again."""
        left = self.left(now_s=now_s)
        return now_s if left > 0 else now_s + (0.1 * RESERVE_S * self.per_s - left) / self.per_s


@dataclass(frozen=True, slots=True)
class Metering:
    """When a link costs by the byte: always, or in windows of the day, as (start, end) in seconds after midnight.

    `offset_s` is what the site's own time is ahead of UTC. A window may go over midnight.
    """

    always: bool = False
    windows: tuple[tuple[int, int], ...] = ()
    offset_s: float = 0.0

    def at(self, wall_s: float) -> bool:
        """Whether the link is metered at this time."""
        second = (wall_s + self.offset_s) % _DAY_S
        return self.always or any(
            start <= second < end if start <= end else second >= start or second < end for start, end in self.windows
        )


def read_metering(text: str, *, offset_s: float = 0.0) -> Metering:
    """ "always", "never" or windows such as "07:00-19:00,22:30-01:00"; `Invalid` (`metering_wrong`)."""
    if text in ("always", "never"):
        return Metering(always=text == "always")
    windows = []
    for part in text.split(","):
        match = _WINDOW.fullmatch(part.strip())
        if match is None:
            raise Invalid(
                "metering_wrong", f"{part[:40]!r} is no time of day. Write always, never or windows like 07:00-19:00."
            )
        hours = [int(number) for number in match.groups()]
        windows.append((hours[0] * 3600 + hours[1] * 60, hours[2] * 3600 + hours[3] * 60))
    return Metering(windows=tuple(windows), offset_s=offset_s)
