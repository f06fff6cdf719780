"""A twin tells what is desired and not so, from what both sides have said."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from littoral.core.desired import Desired, Document
from littoral.core.errors import Invalid
from littoral.fleet.twin import (
    MESSAGE_LENGTH_MAX,
    REPORT_BYTES_MAX,
    Difference,
    Report,
    Reported,
    Twin,
    decode_reported,
    difference,
    encode_reported,
)


def document(name: str = "inspect", version: int = 2, kind: str = "model") -> Document:
    return Document(kind, name, version, b"{}")


def test_a_site_that_has_said_nothing_differs_in_everything_that_is_desired() -> None:
    # given two documents and no report
    twin = Twin("edge", Desired(5, (document(), document("limits", 1, "limits"))))

    # when the difference is taken
    found = twin.difference

    # then both stand there, sorted, as not seen
    assert [(one.kind, one.name, one.state) for one in found] == [
        ("limits", "limits", "unseen"),
        ("model", "inspect", "unseen"),
    ]
    assert not twin.settled


def test_a_site_that_applied_everything_is_settled() -> None:
    twin = Twin("edge", Desired(5, (document(),))).heard(
        Reported(1, 5, (Report("model", "inspect", 2, "applied", serving=2),))
    )

    assert twin.settled


@pytest.mark.parametrize(
    ("report", "state"),
    [
        (Report("model", "inspect", 1, "applied", serving=1), "unseen"),
        (Report("model", "inspect", 2, "applying", serving=1), "applying"),
        (Report("model", "inspect", 2, "failed", 1, "self_test_failed", "It differs."), "failed"),
    ],
)
def test_what_is_on_its_way_or_failed_says_so_and_which_version_serves_meanwhile(report: Report, state: str) -> None:
    found = difference(Desired(5, (document(),)), Reported(1, 5, (report,)))

    assert found == (Difference("model", "inspect", 2, 1, state, report.code, report.message),)


def test_what_is_desired_no_more_differs_until_it_is_gone() -> None:
    desired = Desired(6, ())

    still = difference(desired, Reported(1, 6, (Report("model", "inspect", 2, "applied", serving=2),)))
    gone = difference(desired, Reported(2, 6, ()))

    assert still == (Difference("model", "inspect", 0, 2, "applied"),)
    assert gone == ()


def test_a_report_that_comes_late_does_not_undo_a_later_one() -> None:
    twin = Twin("edge").heard(Reported(3, 5))

    assert twin.heard(Reported(2, 4)) == twin
    assert twin.heard(Reported(3, 4)) == twin


def test_a_report_travels_as_json_and_comes_out_as_it_went_in() -> None:
    reported = Reported(
        7, 5, (Report("model", "inspect", 2, "failed", 1, "self_test_failed", "It differs."),), {"version": "0.1"}
    )

    assert decode_reported(encode_reported(reported)) == reported


def changed(change: Callable[[dict[str, object]], object]) -> bytes:
    told = json.loads(encode_reported(Reported(1, 1)))
    change(told)
    return json.dumps(told).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        changed(lambda it: it.update(version=-1)),
        changed(lambda it: it.update(version="1")),
        changed(lambda it: it.update(reports=[{"kind": "model", "name": "m", "version": 1, "state": "odd"}])),
        changed(lambda it: it.update(facts={"nested": {}})),
        b" " * (REPORT_BYTES_MAX + 1),
    ],
)
def test_what_is_no_report_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid) as refused:
        decode_reported(body)

    assert refused.value.code == "report_wrong"


def test_a_message_that_is_too_long_is_cut() -> None:
    reported = Reported(1, 1, (Report("model", "m", 1, "failed", message="x" * 9_000),))

    assert len(decode_reported(encode_reported(reported)).reports[0].message) == MESSAGE_LENGTH_MAX
