"""Which models the hub serves follows from the registry, the assignments and who is away."""

from __future__ import annotations

from littoral.fleet.twin import Report, Reported
from littoral.hub.desired import Assignment
from littoral.hub.standing_in import served_by, wanted

VERSIONS = {"inspect": 3, "count": 1}


def assignment(model: str, version: int, to: str) -> Assignment:
    return Assignment(1, model, version, to, 0.0, "admin")


def test_all_are_served_in_the_version_that_sites_are_assigned_to() -> None:
    found = wanted(VERSIONS, [assignment("inspect", 2, "line=3")], {}, own_name="hub", serve_all=True)

    assert found == {"inspect": 2, "count": 1}


def test_otherwise_only_what_is_assigned_to_the_hub_itself_and_what_is_missed() -> None:
    # given a model for a line, one for the hub, and a site that is silent
    standing = [assignment("inspect", 2, "line=3"), assignment("count", 1, "site=hub")]

    # when the hub looks at what to serve, and again when the site is back
    away = wanted(VERSIONS, standing, {"edge-1": frozenset({"inspect", "unknown"})}, own_name="hub", serve_all=False)
    back = wanted(VERSIONS, standing, {}, own_name="hub", serve_all=False)

    # then it stands in for what it has, as long as that
    assert away == {"inspect": 2, "count": 1}
    assert back == {"count": 1}


def test_a_site_served_what_its_last_word_says_is_in_force() -> None:
    reports = (
        Report("model", "inspect", 2, "applied", 2),
        Report("model", "count", 3, "failed", 1),
        Report("model", "gone", 4, "applied", 0),
        Report("limits", "default", 1, "applied", 1),
    )

    assert served_by(Reported(1, 1, reports)) == {"inspect", "count"}
