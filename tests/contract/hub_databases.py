"""The databases that a hub runs on: the same tests are run on each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from contract.postgres import postgres

KINDS = ("sqlite", "postgresql")


class Databases:
    """Gives out fresh databases; one PostgreSQL is started when the first is asked for."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._server = ""
        self._numbers = count(1)

    def fresh(self, kind: str) -> str:
        """The URL of an empty database of that kind."""
        number = next(self._numbers)
        if kind == "sqlite":
            return f"sqlite:///{self._folder / f'{number}.db'}"
        import psycopg

        if not self._server:
            self._server = self._stack.enter_context(postgres())
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE hub{number}".encode())
        return self._server.rpartition("/")[0] + f"/hub{number}"


@contextmanager
def databases(folder: Path) -> Iterator[Databases]:
    """Databases that are gone at the end of the block."""
    with ExitStack() as stack:
        yield Databases(folder, stack)
