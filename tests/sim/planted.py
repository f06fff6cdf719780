"""Faults that are planted to prove that the simulation bites: each breaks the promise in a way that people do."""

from __future__ import annotations

from collections.abc import Sequence

from littoral.core.event import Entry
from littoral.store.inbox import SqliteInbox
from sim.simulated_disk import Plants
from sim.voyage import EarlyAnswer, Faults


class TakesEverything(SqliteInbox):
    """No deduplication: whatever comes takes effect."""

    def take(self, entries: Sequence[Entry]) -> dict[tuple[str, str], int]:
        self._connection.run("BEGIN IMMEDIATE")
        self._apply(entries)
        known = {}
        for entry in entries:
            key = (entry.site, entry.log)
            known[key] = max(self.mark(*key), entry.last)
            self.set_mark(*key, known[key])
        self._connection.run("COMMIT")
        return known


class AnswersFirst(SqliteInbox):
    """Acknowledgement before commit: the answer is on its way while the disk is still at work."""

    def take(self, entries: Sequence[Entry]) -> dict[tuple[str, str], int]:
        known = {(entry.site, entry.log): 0 for entry in entries}
        for entry in entries:
            key = (entry.site, entry.log)
            known[key] = max(known[key], self.mark(*key), entry.last)
        try:
            return super().take(entries)
        except Exception as error:
            raise EarlyAnswer(known) from error


class SkipsGaps(SqliteInbox):
    """Acknowledgement of the greatest number seen, whatever is missing before it."""

    def take(self, entries: Sequence[Entry]) -> dict[tuple[str, str], int]:
        self._connection.run("BEGIN IMMEDIATE")
        known = {}
        for entry in entries:
            key = (entry.site, entry.log)
            known[key] = self.mark(*key)
            if entry.last > known[key]:
                self._apply([entry])
                known[key] = entry.last
                self.set_mark(*key, entry.last)
        self._connection.run("COMMIT")
        return known


PLANTED = {
    "no sync": Faults(Plants(sync_is_forgotten=True)),
    "a forgotten directory sync": Faults(Plants(folder_sync_is_forgotten=True)),
    "no deduplication": Faults(inbox=TakesEverything),
    "acknowledgement before commit": Faults(inbox=AnswersFirst),
    "acknowledgement with a gap": Faults(inbox=SkipsGaps),
}
