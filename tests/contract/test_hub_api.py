"""The hub's API from outside: people by token and session, sites by certificate, everybody else refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from contract.hub_databases import KINDS, Databases
from contract.hub_stage import PASSWORD, SiteHere, Stage, converse, running
from littoral.core.errors import Denied
from littoral.core.event import Dropped, Event
from littoral.identity.conversations import learning_time, renewing


@pytest.fixture(scope="module", params=KINDS)
def stage(
    request: pytest.FixtureRequest, hub_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("hub") / "h", database=hub_databases.fresh(request.param)) as here:
        yield here


@pytest.fixture(scope="module")
def site(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> SiteHere:
    return stage.join("edge-1", tmp_path_factory.mktemp("edge"), labels={"line": "3"})


def event(sequence: int, *, log: str = "a", site: str = "edge-1", stream: str = "result") -> Event:
    return Event(site, log, sequence, stream, "inference", 1_700_000_000.0, b'{"n": %d}' % sequence)


def test_an_event_takes_effect_once_however_often_it_is_sent(stage: Stage, site: SiteHere) -> None:
    # given a site that sends two events, and one of them again with a third
    first = site.send([event(1), event(2)])

    # when its answer was lost and it sends again
    second = site.send([event(2), event(3)])

    # then each is there once, in order, and acknowledged
    assert first.json()["acks"] == {"a": 2}
    assert second.json()["acks"] == {"a": 3}
    shown = [one for one in stage.events(site="edge-1", stream="result") if one["log"] == "a"]
    assert [one["body"]["n"] for one in shown] == [1, 2, 3]


def test_what_lies_beyond_a_hole_waits_and_a_drop_fills_it(stage: Stage, site: SiteHere) -> None:
    # given a log whose second event is missing
    assert site.send([event(1, log="b"), event(3, log="b")]).json()["acks"] == {"b": 1}

    # when the site says that it had to drop it
    gap = Dropped("edge-1", "b", 2, 2, "result", 11, "full", 1_700_000_000.0)
    acks = site.send([gap, event(3, log="b")]).json()["acks"]

    # then the log goes on, and the gap is there to be seen
    assert acks == {"b": 3}
    shown = [one for one in stage.events(site="edge-1", stream="result") if one["log"] == "b"]
    assert [(one["kind"], one["sequence"]) for one in shown] == [("inference", 1), ("dropped", 2), ("inference", 3)]
    assert shown[1]["bytes_lost"] == 11


def test_a_site_cannot_write_as_another_and_the_try_is_on_record(stage: Stage, site: SiteHere) -> None:
    answer = site.send([event(1, site="edge-2")], site="edge-2")

    assert answer.status_code == 403
    assert answer.json()["code"] == "site_other"
    assert stage.events(stream="audit", limit=1)[0]["body"]["code"] == "site_other"


def test_who_says_nothing_of_themselves_is_asked_to(stage: Stage) -> None:
    for method, path in [("GET", "/v1/sites"), ("GET", "/v1/events"), ("POST", "/v1/events"), ("GET", "/metrics")]:
        answer = stage.person(None).request(method, path)

        assert answer.status_code == 401, path
        assert answer.json()["code"] == "caller_unknown"


def test_a_token_that_nobody_made_opens_nothing(stage: Stage) -> None:
    for text in ("littoral-key-1.0123456789abcdef." + "x" * 43, "nonsense", "Bearer"):
        assert stage.person(text).get("/v1/sites").json()["code"] == "key_refused"


def test_a_site_may_not_do_what_people_do(site: SiteHere) -> None:
    assert site.client.get("/v1/sites").status_code == 403
    assert site.client.post("/v1/join-tokens", json={}).status_code == 403


def test_a_person_logs_in_and_out(stage: Stage) -> None:
    # given the right password
    session = stage.person(None).post("/v1/login", json={"name": "admin", "password": PASSWORD})
    assert session.status_code == 200
    client = stage.person(session.json()["token"])
    assert client.get("/v1/me").json() == {"name": "admin", "role": "admin"}

    # when the session is ended
    client.post("/v1/logout").raise_for_status()

    # then its token opens nothing any more
    assert client.get("/v1/me").json()["code"] == "session_over"


def test_a_wrong_password_and_a_wrong_name_are_refused_alike(stage: Stage) -> None:
    answers = [
        stage.person(None).post("/v1/login", json={"name": name, "password": "wrong but long"})
        for name in ("admin", "nobody")
    ]

    assert {(one.status_code, one.json()["error"]) for one in answers} == {
        (401, "The name, the password or the proof is wrong. Try again.")
    }


def test_a_viewer_sees_and_changes_nothing(stage: Stage) -> None:
    # given a viewer's token
    minted = stage.admin.post("/v1/tokens", json={"role": "viewer", "days": 1}).raise_for_status().json()
    viewer = stage.person(minted["text"])

    # when they look, and when they try to change something
    seen = viewer.get("/v1/sites")
    refused = viewer.put("/v1/sites/edge-1/labels", json={"labels": {}})

    # then they see, and are refused
    assert seen.status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_missing")


def test_a_browser_session_changes_things_from_the_hubs_own_pages_only(stage: Stage) -> None:
    # given a session as a browser holds it
    client = stage.person(None)
    client.post("/v1/login", json={"name": "admin", "password": PASSWORD}).raise_for_status()
    assert client.get("/v1/me").status_code == 200

    # when another page posts with it, and when the hub's own does
    foreign = client.post("/v1/tokens", json={}, headers={"Origin": "https://elsewhere.test"})
    bare = client.post("/v1/tokens", json={})
    own = client.post("/v1/tokens", json={}, headers={"Origin": stage.url})

    # then only its own goes through
    assert [foreign.json()["code"], bare.json()["code"], own.status_code] == ["origin_wrong", "origin_wrong", 200]


def test_a_join_token_works_once_and_is_bound_to_its_name(stage: Stage, tmp_path: Path) -> None:
    from littoral.identity.enrol import JoinToken
    from littoral.identity.site import SiteIdentity

    # given a token for one site
    text = stage.admin.post("/v1/join-tokens", json={"site": "edge-9"}).json()["text"]
    token = JoinToken.parse(text)

    def join(name: str, folder: str) -> int:
        csr = SiteIdentity.open(tmp_path / folder).csr()
        asked = {"number": token.number, "secret": token.secret, "site": name, "csr": csr}
        return stage.person(None).post("/v1/join", json=asked).status_code

    # when another name, the right one, the same again, and another key try
    tried = [join("edge-8", "a"), join("edge-9", "a"), join("edge-9", "a"), join("edge-9", "b")]

    # then only the named site is let in, again while it is the same key
    assert tried == [403, 200, 200, 403]


def test_a_revoked_site_is_refused_at_the_door_at_once(stage: Stage, tmp_path: Path) -> None:
    # given a site that talks with the hub
    site = stage.join("edge-5", tmp_path)
    assert site.report(1).status_code == 204

    # when it is revoked
    stage.admin.post("/v1/sites/edge-5/revoke").raise_for_status()

    # then its open connection is worth nothing
    assert site.report(2).json()["code"] == "certificate_revoked"
    seen = stage.admin.get("/v1/sites/edge-5").json()["site"]
    assert seen["state"] == "revoked"


def test_what_is_wrong_with_a_body_is_named(stage: Stage) -> None:
    admin = stage.admin
    wrong = admin.put("/v1/sites/edge-1/labels", json={"labels": {"a": "b; DROP TABLE sites"}})
    unknown = admin.post("/v1/tokens", json={"role": "viewer", "dayz": 1})
    missing = admin.post("/v1/tokens", content=b"{")
    query = admin.get("/v1/events", params={"limit": "many"})
    nowhere = admin.get("/v1/nowhere")
    method = admin.delete("/v1/sites")

    assert [one.json()["code"] for one in (wrong, unknown, missing, query, nowhere, method)] == [
        "label_wrong",
        "request_wrong",
        "request_wrong",
        "parameter_wrong",
        "route_unknown",
        "method_wrong",
    ]
    assert method.headers["allow"] == "GET"


def test_a_body_over_the_limit_is_refused(stage: Stage) -> None:
    answer = stage.admin.post("/v1/tokens", content=b" " * (2 << 20))

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_the_hub_counts_for_prometheus(stage: Stage, site: SiteHere) -> None:
    site.send([event(1, log="counted", stream="telemetry")])

    text = stage.admin.get("/metrics").text

    assert 'littoral_hub_events_total{stream="telemetry"} 1.0' in text
    assert 'littoral_hub_sites{state="present"}' in text


def test_the_document_describes_every_route(stage: Stage) -> None:
    document = stage.person(None).get("/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    assert {"/v1/events", "/v1/sites", "/v1/desired", "/v1/models", "/v1/join", "/metrics"} <= set(document["paths"])
    assert document["paths"]["/v1/events"]["post"]["security"] == [{"certificate": []}]
    assert document["paths"]["/v1/uploads"]["post"]["security"] == [{"certificate": []}, {"token": []}]


def test_the_audit_is_for_admins(stage: Stage) -> None:
    minted = stage.admin.post("/v1/tokens", json={"role": "viewer", "days": 1}).raise_for_status().json()

    seen = stage.person(minted["text"]).get("/v1/events").json()["events"]

    assert seen
    assert {one["stream"] for one in seen} & {"audit"} == set()


def test_a_token_of_fewer_scopes_than_its_role_may_no_more(stage: Stage) -> None:
    wish = {"role": "viewer", "days": 1, "scopes": ["models:read"]}
    narrow = stage.person(stage.admin.post("/v1/tokens", json=wish).raise_for_status().json()["text"])

    assert narrow.get("/v1/models").status_code == 200
    assert narrow.get("/v1/sites").json()["code"] == "permission_missing"


def test_an_old_key_is_shut_out_once_its_name_has_another(stage: Stage, tmp_path: Path) -> None:
    # given a site whose machine was replaced by one that joined under its name
    old = stage.join("edge-6", tmp_path / "old")
    assert old.report(1).status_code == 204
    new = stage.join("edge-6", tmp_path / "new")

    # when both talk, the old one over the connection that it has and over another one
    answers = [old.report(2), new.report(1)]
    old.client._transport.close()
    with pytest.raises(httpx.RemoteProtocolError):
        old.report(3)

    # then the old machine's key is worth nothing, and its tries are on record
    assert answers[0].json()["code"] == "certificate_revoked"
    assert answers[1].status_code == 204
    stage.until(lambda came: [it["body"].get("code") for it in came].count("certificate_revoked") >= 2, stream="audit")


def test_a_site_renews_and_learns_the_time(stage: Stage, site: SiteHere) -> None:
    before = site.identity.until_s

    converse(renewing(site.identity), stage.url)

    assert site.identity.until_s >= before
    assert abs(converse(learning_time(site.identity), stage.url) - time.time()) < 60


def test_a_revoked_site_does_not_renew_not_even_after_its_name_was_restored(stage: Stage, tmp_path: Path) -> None:
    site = stage.join("edge-7", tmp_path)
    for step in ("revoke", "restore"):
        stage.admin.post(f"/v1/sites/edge-7/{step}").raise_for_status()

        with pytest.raises(Denied) as refused:
            converse(renewing(site.identity), stage.url)
        assert refused.value.code == "certificate_revoked"


def test_a_site_that_waits_is_told_at_once_what_it_should_live_by(stage: Stage, tmp_path: Path) -> None:
    # given a site that waits for something to live by
    site = stage.join("edge-4", tmp_path, labels={"line": "9"})
    before = site.client.get("/v1/desired").json()["version"]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(site.client.get, "/v1/desired", params={"after": before, "wait_s": 15})

        # when another site is shut out, which every site has to know
        stage.join("edge-3", tmp_path / "other")
        stage.admin.post("/v1/sites/edge-3/revoke").raise_for_status()

        # then it is told
        told = waiting.result(timeout=15).json()
    assert told["version"] > before
    assert "edge-3" in str(told["documents"])


def test_a_hub_that_stops_lets_go_of_sites_that_wait(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(tmp_path / "h") as stage, ThreadPoolExecutor() as pool:
        site = stage.join("edge-1", tmp_path / "edge")
        waiting = pool.submit(site.client.get, "/v1/desired", params={"after": 0, "wait_s": 50})
        stage.until(bool, stream="presence")

        stage.call(lambda: stage.hub.stop(grace_s=5.0))

        assert waiting.result(timeout=10).status_code == 204
    assert "Exception" not in caplog.text
