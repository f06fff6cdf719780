"""An outbox's folder: who has it, which of its databases is the one that counts, and the ledger over that.

The database is `events.N.db`. One that must be mended is copied to number N + 1, and counts once the copy says that it
is complete; so a crash at any instant leaves one that is whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from littoral.core.clock import Clock
from littoral.core.errors import LittoralError
from littoral.core.event import Entry
from littoral.store.disk import Disk
from littoral.store.intake import Put
from littoral.store.journal import write_again
from littoral.store.ledger import Ledger
from littoral.store.mend import Mending
from littoral.store.rules import EventKey, StreamRule, Tally
from littoral.store.sealing import Seal
from littoral.store.space import Space

GENERATION = re.compile(r"events\.(\d+)\.db")
MENDING = "mending"
SPARE_BYTES = 24_000_000

T = TypeVar("T")


class Folder:
    """A folder that this process holds, and its ledger; its user keeps it to one thread at a time."""

    def __init__(
        self,
        disk: Disk,
        path: Path,
        *,
        site: str,
        streams: Sequence[StreamRule],
        bytes_max: int | None,
        seal: Seal | None,
        clock: Clock,
        draw_log: Callable[[], str],
    ) -> None:
        self._disk = disk
        self._path = path
        self._site = site
        self._rules = {rule.name: rule for rule in streams}
        self._seal = seal
        self._clock = clock
        self._draw_log = draw_log
        self.space = Space(disk, path, bytes_max or sum(rule.bytes_max for rule in streams) * 5 // 4 + SPARE_BYTES)
        self._is_damaged = False  # and closed, because mending did not go well so far
        disk.make_folder(path)
        self._held = disk.hold(path / "lock")
        try:
            self.ledger = self._open()
        except BaseException:
            self._held.let_go()
            raise

    def write(self, puts: Sequence[Put]) -> list[EventKey | LittoralError]:
        """Stores events, each transaction of at most one step; says for each its key or why it was not stored."""
        answers: list[EventKey | LittoralError] = []
        for part in self._parts(puts):
            try:
                answers += self._mended(lambda part=part: self.ledger.write(part))  # type: ignore[misc]
            except LittoralError as error:
                answers += [error] * len(part)
        return answers

    def pending(self, log: str, after: int, *, bytes_max: int, count_max: int) -> list[Entry]:
        """The entries of a log that follow number `after`, without a gap: at least one if there is any."""
        return self._mended(lambda: self.ledger.pending(log, after, bytes_max=bytes_max, count_max=count_max))

    def tend(self, *, idle: bool) -> None:
        """Frees what was acknowledged or grew too old, and gives space back to the disk."""
        self._mended(lambda: self.ledger.tend(idle=idle))

    def tallies(self) -> list[Tally]:
        """What was lost since the store was made, by stream and reason."""
        return self._mended(lambda: self.ledger.tallies())  # noqa: PLW0108 - mending makes another ledger

    def disk_bytes(self) -> int:
        """What the folder takes on the disk, without what its reader's index takes in memory."""
        names = [name for name in self._disk.names(self._path) if not name.endswith("-shm")]
        return sum(self._disk.size(self._path / name) for name in names)

    def close(self) -> None:
        """Closes the ledger and lets go of the folder."""
        try:
            if not self._is_damaged:
                self.ledger.close()
        finally:
            self._held.let_go()

    def _open(self) -> Ledger:
        self._forget_copy()
        number, *older = sorted(generations(self._disk, self._path), reverse=True) or [1]
        for one in older:
            self._remove(one)
        write_again(self._disk, self._path / f"events.{number}.db", piece_bytes=self.space.step_bytes)
        try:
            ledger = self._ledger(number)
        except LittoralError as error:
            if error.code != "store_damaged":
                raise
            ledger = self._mend(number)
        self._disk.sync_folder(self._path)
        return ledger

    def _mended(self, action: Callable[[], T]) -> T:
        """What an action gives, after mending where that turns out to be needed."""
        if not self._is_damaged:
            try:
                return action()
            except LittoralError as error:
                if error.code != "store_damaged":
                    raise
            self._is_damaged = True
            try:
                self.ledger.close()
            except LittoralError as error:
                self.ledger.trouble = error
        known = self.ledger.acknowledged()
        self.ledger = self._mend(max(generations(self._disk, self._path), default=1))
        for log, sequence in known.items():  # whoever sends does not say it twice
            self.ledger.acknowledge(log, sequence)
        self._is_damaged = False
        return action()

    def _mend(self, number: int) -> Ledger:
        """Copies what can be read of a damaged database into the next one, and opens that."""
        copy = self._path / f"{MENDING}.db"
        self._forget_copy()
        connection = self._disk.connect(copy)
        try:
            Mending(self._disk, self._path / f"events.{number}.db", connection, self._clock).run()
        finally:
            connection.close()
        self._disk.rename(copy, self._path / f"events.{number + 1}.db")
        self._disk.sync_folder(self._path)
        self._remove(number)
        return self._ledger(number + 1)

    def _forget_copy(self) -> None:
        """Removes a copy that was never completed."""
        for name in self._disk.names(self._path):
            if name.startswith(MENDING):
                self._disk.remove(self._path / name)

    def _remove(self, number: int) -> None:
        for end in ("", "-wal", "-shm"):
            self._disk.remove(self._path / f"events.{number}.db{end}")

    def _ledger(self, number: int) -> Ledger:
        ledger = Ledger(
            self._disk,
            self._path / f"events.{number}.db",
            site=self._site,
            rules=self._rules,
            space=self.space,
            seal=self._seal,
            clock=self._clock,
            draw_log=self._draw_log,
        )
        ledger.open()
        return ledger

    def _parts(self, puts: Sequence[Put]) -> list[list[Put]]:
        parts: list[list[Put]] = []
        size = self.space.step_bytes + 1
        for put in puts:
            size += put.size
            if size > self.space.step_bytes:
                parts.append([])
                size = put.size
            parts[-1].append(put)
        return parts


def generations(disk: Disk, path: Path) -> list[int]:
    """The numbers of the databases in an outbox's folder."""
    found = [GENERATION.fullmatch(name) for name in disk.names(path)]
    return sorted(int(match[1]) for match in found if match)
