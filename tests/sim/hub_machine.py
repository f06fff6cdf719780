"""The hub of a voyage: its own `ingest` and group commit, over SQLite on a simulated disk that loses power."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from littoral.core.errors import LittoralError
from littoral.core.event import Entry
from littoral.hub import events, schema
from littoral.hub.database import Piece, commit, on_sqlite
from littoral.hub.events import Wanted
from littoral.hub.ingest import Taken, take
from littoral.store.journal import write_again
from sim.simulated_dbapi import Driver
from sim.simulated_disk import SimulatedDisk

PATH = Path("/hub/hub.db")
Take = Callable[..., Taken]


class HubMachine:
    """One hub; `commit` takes what came together, `restart` begins it anew."""

    def __init__(self, disk: SimulatedDisk, *, take: Take = take, answers_first: bool = False) -> None:
        self.disk = disk
        self.checkpoint_pages = 8
        self._take = take
        self._answers_first = answers_first
        self._is_running = False

    def found(self) -> None:
        """Makes the database, as `littoral hub init` does before any site is there."""
        assert self._start(), "it is made on a disk that does what it should"

    def commit(self, batches: Sequence[Sequence[Entry]], *, now_s: float) -> list[Mapping[str, int] | None]:
        """Takes batches in, all in one transaction; each one's acknowledgement, None where there is none."""
        if not self._start():
            return [None] * len(batches)
        early: list[Mapping[str, int]] = []

        def work(entries: Sequence[Entry]) -> Callable[[Connection], Mapping[str, int]]:
            def run(connection: Connection) -> Mapping[str, int]:
                early.append(self._take(connection, entries, received_s=now_s).acks)
                return early[-1]

            return run

        pieces = [Piece(work(entries), Future[Any]()) for entries in batches]
        is_stored = commit(_engine(), pieces)
        if self.disk.is_dead:
            self.restart()
        if is_stored:
            return [piece.done.result() for piece in pieces]
        return [early[at] if self._answers_first and at < len(early) else None for at in range(len(pieces))]

    def entries(self) -> list[Entry]:
        """Everything that took effect, in the order in which it did."""
        assert self._start(), "the hub starts on a disk that is whole"
        found: list[Entry] = []
        after = 0
        with _engine().connect() as connection, connection.begin():
            while kept := events.after(connection, Wanted(after=after)):
                found += [one.entry for one in kept]
                after = kept[-1].id
        return found

    def restart(self, *, power: bool = True) -> None:
        """The process begins anew; with `power`, the whole machine does."""
        self.leave()
        if power:
            self.disk.restart()
        else:
            self.disk.kill()

    def leave(self) -> None:
        """The process is gone."""
        self._is_running = False
        self.disk.is_dead = True
        with suppress(SQLAlchemyError):
            _engine().dispose()
        _DISKS.clear()

    def _start(self) -> bool:
        if self._is_running:
            return True
        _DISKS[:] = [self.disk]
        try:
            write_again(self.disk, PATH)
            with _engine().connect().execution_options(writes=True) as connection, connection.begin():
                if not connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'marks'").scalar():
                    schema.METADATA.create_all(connection, tables=[schema.MARKS, schema.EVENTS])
            with _engine().connect() as connection:
                connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint = {self.checkpoint_pages}")
            self.disk.sync_folder(PATH.parent)
        except (SQLAlchemyError, LittoralError):
            self.restart(power=self.disk.is_dead)
            return False
        self._is_running = True
        return True


_DISKS: list[SimulatedDisk] = []  # of the hub that runs: making an engine for each would take most of the time


def _connect() -> Driver:
    return Driver(_DISKS[0], PATH)


@cache
def _engine() -> Any:
    return on_sqlite(create_engine("sqlite://", creator=_connect, poolclass=StaticPool))
