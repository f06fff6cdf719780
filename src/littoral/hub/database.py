"""The hub's database: one thread that writes, with group commit, and a few that read.

    database = Database.open("sqlite:////var/lib/littoral/hub.db")
    marks = await database.write(lambda connection: take(connection, entries))
    rows = await database.read(lambda connection: newest(connection, 50))

All that waits to be written when the writer comes round is one transaction, each piece in a savepoint of its own: a
piece that fails takes nothing along, and a piece is answered only when the whole is on the disk. So a thousand small
reports cost a few syncs, and there is never a second writer (which SQLite before 3.51 does not survive in WAL).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)

from littoral.core.errors import Invalid, LittoralError, Overloaded, Unavailable
from littoral.hub import schema
from littoral.monitor.log import log_of
from littoral.store.disk import RealDisk
from littoral.store.journal import write_again

_LOG = log_of("hub.database")
T = TypeVar("T")
Work = Callable[[Connection], Any]

READERS = 4
WAITING_MAX = 4096
TOGETHER_MAX = 256
BUSY_MS_MAX = 5_000
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    f"busy_timeout={BUSY_MS_MAX}",
    "journal_size_limit=67108864",
    "wal_autocheckpoint=8000",  # pages: 32 MB, so that a busy hub writes a page that changes often once, not each time
    "cache_size=-65536",  # 64 MB: the ends of both indices stay at hand
)
_ADVISORY = 0x117702A1
"""The number of PostgreSQL's advisory lock that says "a hub runs on this database"."""


@dataclass(slots=True)
class Piece:
    """Work that waits for the writer, and where its result goes."""

    work: Work
    done: Future[Any]


class Database:
    """Opened once, closed once. `write` and `read` are awaited on any loop; `write_now` waits in a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: Queue[Piece | None] = Queue(WAITING_MAX)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="hub-read")
        self._writer = threading.Thread(target=self._write_all, name="hub-write", daemon=True)
        self._lock: Connection | None = None
        self._closed = False
        self.commits = 0
        self.writes = 0

    @classmethod
    def open(cls, url: str) -> Database:
        """Opens a database by its SQLAlchemy URL and makes the tables it lacks.

        Raises `Invalid` (`database_wrong`), `Unavailable` (`database_away`, `database_taken`), `Conflict`
        (`schema_newer`).
        """
        engine = _engine(url)
        if engine.dialect.name == "sqlite" and engine.url.database:
            write_again(RealDisk(), Path(engine.url.database))
        database = cls(engine)
        try:
            database._take_hold()
            with engine.connect().execution_options(writes=True) as connection, connection.begin():
                schema.prepare(connection)
        except SQLAlchemyError as error:
            database._let_go()
            raise _away(error) from error
        except LittoralError:
            database._let_go()
            raise
        database._writer.start()
        return database

    @property
    def waiting(self) -> int:
        """Pieces of work that wait to be written."""
        return self._waiting.qsize()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in a transaction; returns when its effect is on the disk. `Overloaded` (`hub_busy`)."""
        return await asyncio.wrap_future(self._hand_over(work))

    def write_now(self, work: Callable[[Connection], T]) -> T:
        """The same for a thread that may wait."""
        return self._hand_over(work).result()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` on a connection that sees one moment of the database."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self.read_now, work)

    def read_now(self, work: Callable[[Connection], T]) -> T:
        """The same for a thread that may wait."""
        try:
            with self._engine.connect() as connection, connection.begin():
                return work(connection)
        except SQLAlchemyError as error:
            raise _away(error) from error

    def close(self) -> None:
        """Writes what waits, then lets go; may block."""
        if self._closed:
            return
        self._closed = True
        self._waiting.put(None)
        self._writer.join()
        self._readers.shutdown()
        self._let_go()

    def _hand_over(self, work: Callable[[Connection], T]) -> Future[T]:
        if self._closed:
            raise Unavailable("closing", "The hub is being stopped. Ask again when it is back.")
        piece = Piece(work, Future())
        try:
            self._waiting.put_nowait(piece)
        except Full:
            raise Overloaded("hub_busy", "The hub's database is behind. Come back soon.", retry_after_ms=1000) from None
        return piece.done

    def _write_all(self) -> None:
        """The writer's thread: takes all that waits, commits it at once, and tells everybody."""
        while (first := self._waiting.get()) is not None:
            together = [first]
            last = False
            with suppress(Empty):
                while len(together) < TOGETHER_MAX and not last:
                    more = self._waiting.get_nowait()
                    if more is None:
                        last = True
                    else:
                        together.append(more)
            self._commit(together)
            if last:
                return

    def _commit(self, together: list[Piece]) -> None:
        done = commit(self._engine, [piece for piece in together if piece.done.set_running_or_notify_cancel()])
        self.commits += bool(done)
        self.writes += done

    def _take_hold(self) -> None:
        """Makes sure that no other hub runs on this PostgreSQL; SQLite's hub has a lock on its folder."""
        if self._engine.dialect.name != "postgresql":
            return
        self._lock = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if not self._lock.execute(text("SELECT pg_try_advisory_lock(:n)"), {"n": _ADVISORY}).scalar():
            raise Unavailable("database_taken", "Another hub runs on this database. Stop it, or name another one.")

    def _let_go(self) -> None:
        if self._lock is not None:
            with suppress(SQLAlchemyError):
                self._lock.close()
            self._lock = None
        self._engine.dispose()


def commit(engine: Engine, together: Sequence[Piece]) -> int:
    """Does pieces of work in one transaction, then tells each what came of it; how many are on the disk now."""
    results: list[tuple[Piece, Any, BaseException | None]] = []
    try:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            for piece in together:
                results.append(_attempt(connection, piece))
    except SQLAlchemyError as error:
        failure = _away(error)
        _LOG.error("The database cannot be written.", reason=failure.message)
        for piece in together:
            piece.done.set_exception(failure)
        return 0
    for piece, result, wrong in results:
        if wrong is None:
            piece.done.set_result(result)
        else:
            piece.done.set_exception(wrong)
    return len(together)


def _attempt(connection: Connection, piece: Piece) -> tuple[Piece, Any, BaseException | None]:
    """One piece in its savepoint; what is wrong with its values is its caller's, a database that fails everybody's."""
    try:
        with connection.begin_nested():
            return piece, piece.work(connection), None
    except (IntegrityError, DataError, ProgrammingError) as error:
        return piece, None, _away(error)
    except SQLAlchemyError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told and the others are not harmed
        return piece, None, error


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise Invalid(
                "database_wrong", "A hub's database is SQLite or PostgreSQL: sqlite:///FILE or postgresql://…"
            )
        engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() == "postgresql", pool_size=READERS + 2)
    except (ArgumentError, NoSuchModuleError) as error:
        raise Invalid("database_wrong", "A database URL is sqlite:///FILE or postgresql://USER@HOST/NAME.") from error
    except ModuleNotFoundError as error:
        raise Unavailable("extra_missing", "PostgreSQL needs a driver: pip install 'littoral[postgresql]'.") from error
    return on_sqlite(engine) if parsed.get_backend_name() == "sqlite" else engine


def on_sqlite(engine: Engine) -> Engine:
    """The engine, whose connections from now on are durable and begin what they say they begin."""
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves; the driver says it late, and never before a read
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _away(error: SQLAlchemyError) -> LittoralError:
    """What a database's failure means to whoever waits; the statement and its values are left out."""
    reason = str(getattr(error, "orig", error)).splitlines()[0][:200]
    return Unavailable("database_away", f"The hub's database failed: {reason}. Look at its disk and its log.")
