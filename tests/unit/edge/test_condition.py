"""What a site tells of its condition: audits since the reading before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from littoral.edge.condition import Condition
from littoral.runtime.cascading import Audits


def told(condition: Condition) -> tuple[int, int]:
    """The audits of the one cascade, and those in which the big model answered otherwise."""
    one = condition.read()["cascades"][0]
    return one["audits"], one["audits_different"]


def test_audits_are_told_once_and_a_cascade_that_begins_anew_counts_anew() -> None:
    # given a node with one cascade of which three answers were audited
    first, second = Audits(), Audits()
    for otherwise in (True, False, False):
        first.add(otherwise)
    cascade: Any = SimpleNamespace(escalations=SimpleNamespace(share=0.2), promise_holds=True, audits=first)
    placer = SimpleNamespace(counts={}, peers=[], cascades={"m": cascade})
    node: Any = SimpleNamespace(placer=placer, drifting=None, runtime=SimpleNamespace(in_flight=0))
    outbox: Any = SimpleNamespace(logs=list, tallies=list)
    results: Any = SimpleNamespace(take_devices=dict)
    condition = Condition(node, outbox, results)

    # when it is read, read again, read after one more, and read after another cascade took its place
    readings = [told(condition), told(condition)]
    first.add(True)
    readings.append(told(condition))
    second.add(False)
    cascade.audits = second
    readings.append(told(condition))

    # then each audit was told once
    assert readings == [(3, 1), (0, 0), (1, 1), (1, 0)]
