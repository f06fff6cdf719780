"""Making room: which events give way to a new one, as the stream's rule says."""

from __future__ import annotations

from littoral.store.drops import BUDGET, Drops
from littoral.store.rules import StreamRule, WhenFull
from littoral.store.shelf import Shelf

STEP_SHARE = 64
STEP_BYTES_MAX = 262_144


class Room:
    """Drops events by the streams' rules, within the transaction that is open."""

    def __init__(self, shelf: Shelf, drops: Drops) -> None:
        self._shelf = shelf
        self._drops = drops
        self._thinned: dict[str, tuple[int, int]] = {}  # stream > the log and the sequence where thinning goes on

    def make(self, rule: StreamRule, need: int, *, whole: bool) -> int:
        """Frees at least `need` bytes if the rule lets it; says how many. `whole`: the whole store is full, not only
        this stream. A little more is freed than asked for, so that the next events need not ask again.
        """
        need = max(need, min(rule.bytes_max // STEP_SHARE, STEP_BYTES_MAX))
        if rule.when_full is WhenFull.REJECT:
            return 0
        freed = self._thin(rule.name, need) if rule.when_full is WhenFull.THIN_OUT else 0
        giving = [rule.name]
        if whole:
            first = rule.when_full is WhenFull.DROP_LOWEST
            giving = [*self._lower(rule), rule.name] if first else [rule.name, *self._lower(rule)]
        for stream in giving:
            if freed < need:
                freed += self._oldest(stream, need - freed)
        return freed

    def _lower(self, rule: StreamRule) -> list[str]:
        """The streams that give way to this one, the lowest first; one that rejects never gives way."""
        rules = [self._shelf.rule(stream) for stream in self._shelf.streams()]
        giving = [one for one in rules if one.priority < rule.priority and one.when_full is not WhenFull.REJECT]
        return [one.name for one in sorted(giving, key=lambda one: (one.priority, one.name))]

    def _oldest(self, stream: str, need: int) -> int:
        freed = 0
        for log in self._shelf.of_stream(stream):
            if freed >= need:
                break
            freed += self._drops.oldest(log, need - freed, BUDGET)
        return freed

    def _thin(self, stream: str, need: int) -> int:
        """Takes every second event, going on where it stopped the last time: each pass halves what there is."""
        freed, passes = 0, 0
        logs = self._shelf.of_stream(stream)
        number, after = self._thinned.get(stream, (0, 0))
        if number not in [log.number for log in logs]:
            number, after = (logs[0].number if logs else 0), 0
        while freed < need and passes < 2:
            log = next((one for one in logs if one.number >= number), None)
            if log is None:
                number, after, passes = (logs[0].number if logs else 0), 0, passes + 1
                if not logs:
                    break
                continue
            got, after = self._drops.thin(log, after, need - freed)
            freed += got
            number = log.number if after else log.number + 1
        self._thinned[stream] = (number, after)
        return freed
