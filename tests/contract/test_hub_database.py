"""The database: one writer, whole pieces, nobody harmed by another's failure."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select

from contract.hub_databases import Databases
from contract.postgres import free_port
from littoral.core.errors import Conflict, Invalid, Unavailable
from littoral.hub.database import Database, Work
from littoral.hub.schema import FACTS


def put(name: str) -> Work:
    def work(connection: Connection) -> str:
        connection.execute(insert(FACTS).values(name=name, value="1"))
        return name

    return work


def count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(FACTS)).scalar() or 0) - 1  # without the version


def test_what_is_written_together_costs_few_commits_and_a_failure_takes_only_itself_along(database: Database) -> None:
    # given a hundred pieces of work at once, of which one breaks a rule, one is no text, and one raises
    def broken(connection: Connection) -> None:
        put("half done")(connection)
        raise Invalid("label_wrong", "It is wrong.")

    works: list[Work] = [put(f"n{number}") for number in range(100)]
    works[40] = put("n39")
    works[60] = broken

    async def story() -> list[object]:
        return await asyncio.gather(*map(database.write, works), return_exceptions=True)

    # when all are written
    results = asyncio.run(story())

    # then 98 took effect, and the two were told what was wrong with them
    assert database.read_now(count) == 98
    assert isinstance(results[40], Unavailable)
    assert isinstance(results[60], Invalid)
    assert database.commits < 100


def test_who_gives_up_waiting_stops_nobody(database: Database) -> None:
    async def story() -> object:
        given_up = asyncio.create_task(database.write(put("a")))
        await asyncio.sleep(0)
        given_up.cancel()
        return await database.write(put("b"))

    assert asyncio.run(story()) == "b"


def test_a_database_that_a_later_littoral_made_is_left_alone(database_url: str) -> None:
    # given one that says it is newer
    database = Database.open(database_url)
    database.write_now(lambda it: it.execute(FACTS.update().values(value="99")))
    database.close()

    # when it is opened
    with pytest.raises(Conflict) as refused:
        Database.open(database_url)

    # then that is said
    assert refused.value.code == "schema_newer"


def test_a_second_hub_on_one_postgresql_is_refused(hub_databases: Databases) -> None:
    # given a hub that runs on a database
    url = hub_databases.fresh("postgresql")
    first = Database.open(url)

    # when another one is started on it
    with pytest.raises(Unavailable) as refused:
        Database.open(url)
    first.close()

    # then it does not come up, until the first one has gone
    assert refused.value.code == "database_taken"
    Database.open(url).close()


@pytest.mark.parametrize("url", ["", "mysql://x", "nonsense", "sqlite+nothing://"])
def test_what_is_no_database_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        Database.open(url)
    assert refused.value.code == "database_wrong"


def test_a_postgresql_that_is_not_there_is_told_without_its_password() -> None:
    with pytest.raises(Unavailable) as refused:
        Database.open(f"postgresql://littoral:secret@127.0.0.1:{free_port()}/none")
    assert refused.value.code == "database_away"
    assert "secret" not in refused.value.message


def test_with_sqlite_every_commit_is_synced_before_it_is_told(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'hub.db'}")
    pragmas = database.read_now(
        lambda it: [it.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    )
    database.close()

    assert pragmas == ["wal", 2]  # 2 is FULL
