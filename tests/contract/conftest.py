"""What the contract tests share: the databases that a hub runs on, each test once on each kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.hub_databases import KINDS, Databases, databases
from littoral.hub.database import Database


@pytest.fixture(scope="session")
def hub_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Fresh databases for the asking."""
    with databases(tmp_path_factory.mktemp("databases")) as given:
        yield given


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, hub_databases: Databases) -> str:
    """An empty database of each kind."""
    return hub_databases.fresh(request.param)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A hub's database of each kind, closed at the end."""
    opened = Database.open(database_url)
    yield opened
    opened.close()
