"""A site keeps its certificate fresh by itself, whatever its clock says and however long its hub was away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.hub_stage import Stage, running
from littoral.core.clock import ManualClock
from littoral.core.errors import Conflict, LittoralError, NotFound, Unavailable
from littoral.edge.membership import join, membership_of
from littoral.edge.renewing import Renewing
from littoral.identity.enrol import JoinToken
from littoral.identity.site import SiteIdentity

HOUR_S, DAY_S = 3600.0, 86_400.0


@pytest.fixture
def clock() -> ManualClock:
    """The hub's time."""
    return ManualClock(wall_s=time.time())


@pytest.fixture
def hub(tmp_path: Path, clock: ManualClock) -> Iterator[Stage]:
    with running(tmp_path / "hub", clock=clock) as stage:
        yield stage


def token(hub: Stage, site: str = "cam-1") -> JoinToken:
    made = hub.admin.post("/v1/join-tokens", json={"site": site}).raise_for_status().json()
    return JoinToken.parse(made["text"])


async def renewed(renewing: Renewing, done: Callable[[], bool]) -> None:
    """Lets it run until something came of it."""
    running_on = asyncio.create_task(renewing.run())
    try:
        async with asyncio.timeout(30):
            while not done():
                await asyncio.sleep(0.02)
    finally:
        running_on.cancel()
        await asyncio.gather(running_on, return_exceptions=True)


@pytest.mark.parametrize("away_s", [13 * HOUR_S, 399 * DAY_S])
def test_a_certificate_is_renewed_at_half_its_life_and_long_after_its_end(
    tmp_path: Path, clock: ManualClock, away_s: float
) -> None:
    # given a site that joined, and was off while time went on at its hub; its own clock knows nothing of that
    with running(tmp_path / "hub", clock=clock) as hub:
        joined = join(tmp_path / "site", token(hub), "cam-1")
    before_s = joined.identity.until_s
    clock.advance(away_s)

    # when its renewing runs
    told: list[float] = []
    with running(tmp_path / "hub", clock=clock) as hub:
        renewing = Renewing(membership_of(tmp_path / "site").identity, hub.url, on_renewed=told.append)
        asyncio.run(renewed(renewing, lambda: bool(told)))

    # then it has a certificate that holds by the hub's time, also after a restart
    assert told[0] > max(before_s, clock.wall_s() + 20 * HOUR_S)
    assert SiteIdentity.open(tmp_path / "site" / "identity").until_s == told[0]


def test_a_hub_that_is_away_is_asked_again_until_it_is_there(hub: Stage, clock: ManualClock, tmp_path: Path) -> None:
    joined = join(tmp_path / "site", token(hub), "cam-1")
    clock.advance(13 * HOUR_S)
    told: list[float] = []
    renewing = Renewing(joined.identity, hub.url, on_renewed=told.append)
    away = Renewing(joined.identity, "https://127.0.0.1:9", on_renewed=told.append)

    async def story() -> None:
        waiting = asyncio.create_task(away.run())
        await asyncio.sleep(0.5)
        assert not waiting.done()
        waiting.cancel()
        await renewed(renewing, lambda: bool(told))

    asyncio.run(story())

    assert len(told) == 1


def test_a_site_that_was_revoked_is_not_renewed_and_says_so(hub: Stage, clock: ManualClock, tmp_path: Path) -> None:
    joined = join(tmp_path / "site", token(hub), "cam-1")
    hub.admin.post("/v1/sites/cam-1/revoke").raise_for_status()
    clock.advance(13 * HOUR_S)
    refused: list[LittoralError] = []

    asyncio.run(renewed(Renewing(joined.identity, hub.url, on_denied=refused.append), lambda: bool(refused)))

    assert refused[0].code == "certificate_revoked"


def test_a_folder_says_which_hub_it_belongs_to_and_joins_no_other_name(hub: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    with pytest.raises(NotFound):
        membership_of(folder)
    given = token(hub)
    join(folder, given, "cam-1")

    again = join(folder, given, "cam-1")  # as where the answer had been lost

    assert membership_of(folder).membership == again.membership
    assert again.membership.site == "cam-1"
    with pytest.raises(Conflict):
        join(folder, token(hub, "cam-2"), "cam-2")


def test_a_hub_that_does_not_answer_is_told_by_its_address(hub: Stage, tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as away:
        join(tmp_path / "site", token(hub), "cam-1", hub="https://127.0.0.1:9")

    assert away.value.code == "hub_away"
    assert "127.0.0.1:9" in away.value.message
    assert not (tmp_path / "site" / "edge.json").exists()
