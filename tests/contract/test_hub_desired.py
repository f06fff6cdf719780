"""What sites should live by follows from assignments, labels and revocations; its version grows with each change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from contract.hub_rows import release
from littoral.core.errors import Conflict, Invalid, NotFound
from littoral.fleet.selector import Selector
from littoral.hub import desired, registry, revoking, site_settings, sites
from littoral.hub.database import Database

NOW_S = 1_700_000_000.0


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database._engine.connect() as opened, opened.begin():
        sites.add(opened, "edge-1", {"line": "3"}, now_s=NOW_S)
        sites.add(opened, "edge-2", {"line": "4"}, now_s=NOW_S)
        for version, digit in (("1", "a"), ("2", "b")):
            registry.push(opened, release("inspect", version, content=digit), {}, by="admin", now_s=NOW_S)
        yield opened


def assign(connection: Connection, version: int, to: str) -> desired.Changed:
    return desired.assign(connection, "inspect", version, Selector.parse(to), by="admin", now_s=NOW_S)[1]


def models(connection: Connection, site: str) -> dict[str, str]:
    documents = desired.desired(connection, site).documents
    return {it.name: it.body.decode() for it in documents if it.kind == "model"}


def test_an_assignment_reaches_the_sites_that_it_means_and_no_others(connection: Connection) -> None:
    changed = assign(connection, 1, "line=3")

    assert changed == {"edge-1": 1}
    assert '"version":"1"' in models(connection, "edge-1")["inspect"]
    assert models(connection, "edge-2") == {}


def test_the_latest_assignment_of_a_model_wins_and_the_version_grows(connection: Connection) -> None:
    # given version 1 for everybody
    assert assign(connection, 1, "*") == {"edge-1": 1, "edge-2": 1}

    # when one line gets version 2, and nothing changes after that
    changed = assign(connection, 2, "line=3")
    again = assign(connection, 2, "line=3")

    # then only that line lives by something else, once
    assert changed == {"edge-1": 2}
    assert again == {}
    assert '"version":"2"' in models(connection, "edge-1")["inspect"]
    assert '"version":"1"' in models(connection, "edge-2")["inspect"]


def test_a_site_that_gets_another_label_gets_other_models(connection: Connection) -> None:
    assign(connection, 1, "line=3")

    sites.set_labels(connection, "edge-1", {"line": "9"})
    sites.set_labels(connection, "edge-2", {"line": "3"})
    changed = desired.recompute(connection)

    assert changed == {"edge-1": 2, "edge-2": 1}
    assert models(connection, "edge-1") == {}
    assert "inspect" in models(connection, "edge-2")


def test_every_other_site_is_told_of_one_that_is_revoked(connection: Connection) -> None:
    # given two sites with a model
    assign(connection, 1, "*")

    # when one is revoked
    revoking.revoke(connection, "edge-1", now_s=NOW_S)
    desired.recompute(connection)

    # then the other one hears of it and keeps its model, and the one has nothing to run
    told = {it.kind: it.body for it in desired.desired(connection, "edge-2").documents}
    assert b"edge-1" in told["revoked"]
    assert "model" in told
    assert models(connection, "edge-1") == {}


def test_the_newest_version_is_meant_where_none_is_named(connection: Connection) -> None:
    made, _ = desired.assign(connection, "inspect", 0, Selector.parse("*"), by="admin", now_s=NOW_S)

    assert made.version == 2


def test_a_version_that_sites_should_have_is_not_taken_out(connection: Connection) -> None:
    assign(connection, 2, "*")

    with pytest.raises(Conflict) as refused:
        registry.remove(connection, "inspect", 2)
    assert refused.value.code == "model_assigned"
    registry.remove(connection, "inspect", 1)


def test_what_is_not_there_is_not_assigned(connection: Connection) -> None:
    for model, version, code in (("other", 1, "model_unknown"), ("inspect", 7, "version_unknown")):
        with pytest.raises(NotFound) as refused:
            desired.assign(connection, model, version, Selector.parse("*"), by="admin", now_s=NOW_S)
        assert refused.value.code == code


def test_the_same_release_again_is_nothing_and_another_of_its_version_is_refused(connection: Connection) -> None:
    registry.push(connection, release("inspect", "1", content="a"), {}, by="admin", now_s=NOW_S)

    with pytest.raises(Conflict) as refused:
        registry.push(connection, release("inspect", "1", content="c"), {}, by="admin", now_s=NOW_S)
    assert refused.value.code == "version_taken"
    assert registry.next_version(connection, "inspect") == 3


def test_what_a_site_was_told_is_changed_by_compare_and_set_and_a_conflict_names_the_other_change(
    connection: Connection,
) -> None:
    # given limits that one operator told a site
    told = {"escalation_share": 0.1}
    said = site_settings.say(connection, "limits", "edge-1", told, expect=0, by="ann", now_s=NOW_S)
    assert (said.version, desired.recompute(connection)) == (1, {"edge-1": 1})

    # when another one tells it something else, having read nothing of that
    with pytest.raises(Conflict) as moved:
        site_settings.say(connection, "limits", "edge-1", {"audit_share": 0.5}, expect=0, by="bob", now_s=NOW_S)

    # then the first stands, and the second hears whose change it is and what it says
    assert moved.value.code == "setting_moved"
    assert moved.value.context["by"] == "ann"
    assert '{"escalation_share":0.1}' in moved.value.message
    found = {it.kind: it.body for it in desired.desired(connection, "edge-1").documents}
    assert found == {"limits": b'{"escalation_share":0.1}'}

    # and an empty value takes the document away
    site_settings.say(connection, "limits", "edge-1", {}, expect=1, by="bob", now_s=NOW_S)
    assert desired.recompute(connection) == {"edge-1": 2}
    assert desired.desired(connection, "edge-1").documents == ()


def test_what_no_site_can_live_by_is_not_told(connection: Connection) -> None:
    for kind, value in (
        ("limits", {"escalation_share": 7}),
        ("limits", {"x": 1}),
        ("model", {}),
        ("configuration", []),
    ):
        with pytest.raises(Invalid) as wrong:
            site_settings.say(connection, kind, "edge-1", value, expect=0, by="ann", now_s=NOW_S)
        assert wrong.value.code == "document_wrong"
