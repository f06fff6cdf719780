"""What a site lives by beside models reaches whoever lives by it, and nonsense does not."""

from __future__ import annotations

import asyncio

import pytest

from littoral.core.desired import Document
from littoral.core.errors import Corrupt, Invalid
from littoral.edge.appliers import RevokedApplier, ValueApplier, bounds_of
from littoral.edge.settings import Bounds
from littoral.fleet.site_settings import Configuration, Limits
from littoral.identity.peers import NOTHING_REVOKED, Revocations


def document(body: bytes, kind: str = "limits") -> Document:
    return Document(kind, "all", 1, body)


def test_limits_replace_only_what_they_name() -> None:
    bounds = Bounds(0.5, 1000.0, 0.1, stand_by=False)

    assert bounds_of(Limits(escalation_share=0.0), bounds) == Bounds(0.0, 1000.0, 0.1, stand_by=False)
    assert bounds_of(Limits(), bounds) == bounds


def test_a_value_is_handed_over_and_taken_back() -> None:
    used: list[Configuration] = []

    async def use(told: Configuration) -> None:
        used.append(told)

    applier = ValueApplier(Configuration, use)
    asyncio.run(applier.apply(document(b'{"results_share": 0.5}')))
    asyncio.run(applier.remove("all"))

    assert used == [Configuration(results_share=0.5), Configuration()]
    assert not applier.holds("all")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"unknown": 1}', b'{"results_share": 2}', b'{"report_every_s": 0}'])
def test_a_value_that_nobody_can_live_by_is_refused(body: bytes) -> None:
    async def use(told: Configuration) -> None:
        raise AssertionError("nobody is handed this")

    with pytest.raises(Invalid) as refused:
        asyncio.run(ValueApplier(Configuration, use).apply(document(body)))

    assert refused.value.code == "document_wrong"


def test_who_is_revoked_is_known_until_that_is_desired_no_more() -> None:
    known: list[Revocations] = []
    applier = RevokedApplier(known.append)
    revoked = Revocations(sites=frozenset({"lost"}))

    asyncio.run(applier.apply(document(revoked.words(), "revoked")))
    asyncio.run(applier.remove("identities"))

    assert known == [revoked, NOTHING_REVOKED]


def test_a_list_of_revocations_that_cannot_be_read_changes_nothing() -> None:
    known: list[Revocations] = []

    with pytest.raises(Corrupt):
        asyncio.run(RevokedApplier(known.append).apply(document(b"{", "revoked")))

    assert known == []
