"""The hub serves its registry's models to its sites, and stands in for one that fell silent."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.hub_stage import SiteHere, Stage, running
from littoral.core.clock import ManualClock
from littoral.identity.contexts import unverified_context
from littoral.model import builtin


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_s=time.time())


@pytest.fixture
def stage(tmp_path: Path, clock: ManualClock) -> Iterator[Stage]:
    with running(tmp_path / "h", clock=clock, http_port=0, grpc_port=0, serve_all=False) as here:
        yield here


@pytest.fixture
def site(stage: Stage, tmp_path: Path) -> SiteHere:
    return stage.join("edge-1", tmp_path / "edge")


def push(stage: Stage, name: str) -> None:
    content = (builtin.path() / "surface-little" / "1" / "model.onnx").read_bytes()
    stage.admin.post(f"/v1/models/{name}", params={"file": "m.onnx"}, content=content).raise_for_status()


def ready(stage: Stage, site: SiteHere, name: str) -> bool:
    with httpx.Client(verify=site.identity.client_context(), trust_env=False, timeout=20) as client:
        return client.get(f"{stage.standing.http}/v2/models/{name}/ready").status_code == 200


def serves(stage: Stage, kind: str) -> list[dict[str, Any]]:
    """Waits until the hub tells that."""
    return stage.until(lambda came: any(it["kind"] == kind for it in came), stream="presence")


def report(site: SiteHere, version: int, *models: str) -> None:
    reports = [{"kind": "model", "name": it, "version": 1, "state": "applied", "serving": 1} for it in models]
    body = {"version": version, "desired_version": 0, "reports": reports, "facts": {"interval_s": 10}}
    site.client.put("/v1/reported", json=body).raise_for_status()


def test_what_is_assigned_to_the_hub_is_served_to_sites_and_to_nobody_else(stage: Stage, site: SiteHere) -> None:
    # given a model that is assigned to the hub by its name, and one that is not
    for name in ("mine", "other"):
        push(stage, name)
    stage.admin.post("/v1/assignments", json={"model": "mine", "to": "site=hub"}).raise_for_status()
    stage.call(stage.hub.serving.bring_up_to_date)

    # when a site asks, and somebody without a certificate
    assert ready(stage, site, "mine")
    assert not ready(stage, site, "other")
    with (
        httpx.Client(verify=unverified_context(), trust_env=False, timeout=20) as nobody,
        pytest.raises((httpx.HTTPError, ssl.SSLError)),
    ):
        nobody.get(f"{stage.standing.http}/v2")

    # then no site can take it out of service
    with httpx.Client(verify=site.identity.client_context(), trust_env=False, timeout=20) as client:
        refused = client.post(f"{stage.standing.http}/v2/repository/models/mine/unload")
    assert refused.json()["code"] == "permission_missing"
    assert ready(stage, site, "mine")


def test_a_site_that_is_shut_out_loses_the_connection_it_has(stage: Stage, site: SiteHere) -> None:
    # given a site that talks with the door over a connection that stays open
    with httpx.Client(verify=site.identity.client_context(), trust_env=False, timeout=20) as client:
        client.get(f"{stage.standing.http}/v2").raise_for_status()

        # when it is revoked
        stage.admin.post("/v1/sites/edge-1/revoke").raise_for_status()
        stage.call(stage.hub.serving.bring_up_to_date)

        # then it is out, over that connection and any other
        for _ in range(2):
            with pytest.raises(httpx.HTTPError):
                client.get(f"{stage.standing.http}/v2")


def test_the_hub_stands_in_for_a_silent_site_and_hands_back_without_flapping(
    stage: Stage, site: SiteHere, clock: ManualClock
) -> None:
    # given a site that serves a model which the hub has, but does not serve
    push(stage, "mine")
    report(site, 1, "mine")
    assert not ready(stage, site, "mine")

    # when it falls silent
    clock.advance(40)
    serves(stage, "takeover_begun")
    assert ready(stage, site, "mine")

    # and reports once, then on time, again and again
    report(site, 2, "mine")
    stage.call(stage.hub.serving.bring_up_to_date)
    assert ready(stage, site, "mine"), "one report is not enough to hand back"
    for version in (3, 4, 5):
        clock.advance(10)
        report(site, version, "mine")

    # then the hub hands back, once
    told = [it["kind"] for it in serves(stage, "takeover_ended")]
    assert told.count("takeover_begun") == told.count("takeover_ended") == 1
    assert [it for it in told if it.startswith("site_")] == ["site_present", "site_silent", "site_late", "site_present"]
    assert not ready(stage, site, "mine")
