"""What a node is told, and what it takes where it is told nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral.core.ident import check_name
from littoral.edge import settings as room
from littoral.edge.settings import NodeSettings, default_site
from littoral.model import builtin


def test_without_any_model_the_built_in_ones_are_served() -> None:
    assert NodeSettings().builtin
    assert NodeSettings().model_paths == (builtin.path(),)
    assert NodeSettings(paths=(Path("mine"),)).model_paths == (Path("mine"),)


@pytest.mark.parametrize("name", ["edge-7", "Max's Laptop", "größe", "", "-_-", "x" * 300])
def test_a_site_has_a_usable_name_whatever_the_machine_is_called(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.socket, "gethostname", lambda: name)

    assert check_name(default_site(), what="site")


def test_a_node_listens_to_this_machine_only_unless_told_otherwise() -> None:
    assert NodeSettings().host == "127.0.0.1"
