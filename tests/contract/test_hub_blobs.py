"""Files go up to the hub in parts and come down in ranges, and both go on where they broke off."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contract.hub_stage import SiteHere, Stage, running

TUS = {"Tus-Resumable": "1.0.0"}
PART = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def stage(folder: Path) -> Iterator[Stage]:
    with running(folder / "h") as here:
        yield here


@pytest.fixture(scope="module")
def site(stage: Stage, folder: Path) -> SiteHere:
    return stage.join("edge-1", folder / "edge")


def content_of(seed: int, size: int = 3_000_000) -> tuple[bytes, str]:
    content = random.Random(seed).randbytes(size)
    return content, "sha256:" + hashlib.sha256(content).hexdigest()


def create(client: httpx.Client, digest: str, size: int) -> httpx.Response:
    told = {"Upload-Length": str(size), "Upload-Metadata": "digest " + base64.b64encode(digest.encode()).decode()}
    return client.post("/v1/uploads", headers={**TUS, **told})


def send(client: httpx.Client, digest: str, offset: int, part: bytes) -> httpx.Response:
    return client.patch(f"/v1/uploads/{digest}", content=part, headers={**PART, "Upload-Offset": str(offset)})


def test_a_file_goes_up_in_parts_and_comes_down_in_ranges(stage: Stage, site: SiteHere) -> None:
    # given a file of which the first part went up
    content, digest = content_of(1)
    made = create(stage.admin, digest, len(content))
    assert (made.status_code, made.headers["location"]) == (201, f"/v1/uploads/{digest}")
    assert send(stage.admin, digest, 0, content[:1_000_000]).headers["upload-offset"] == "1000000"

    # when the sender asks where it stands, and sends the rest
    stands = int(stage.admin.head(f"/v1/uploads/{digest}", headers=TUS).headers["upload-offset"])
    send(stage.admin, digest, stands, content[stands:]).raise_for_status()

    # then a site has it, whole or any part of it
    whole = site.client.get(f"/v1/blobs/{digest}")
    part = site.client.get(f"/v1/blobs/{digest}", headers={"Range": "bytes=2999990-"})
    assert whole.content == content
    assert (part.status_code, part.content) == (206, content[2_999_990:])
    assert whole.headers["etag"] == f'"{digest}"'


def test_an_upload_goes_on_after_a_restart_of_the_hub(tmp_path: Path) -> None:
    content, digest = content_of(2)
    with running(tmp_path / "h") as stage:
        create(stage.admin, digest, len(content))
        send(stage.admin, digest, 0, content[:2_200_000]).raise_for_status()

    with running(tmp_path / "h") as stage:
        stands = int(stage.admin.head(f"/v1/uploads/{digest}", headers=TUS).headers["upload-offset"])
        done = send(stage.admin, digest, stands, content[stands:])

        assert stands > 2_000_000
        assert done.headers["upload-offset"] == str(len(content))
        assert stage.admin.get(f"/v1/blobs/{digest}").content == content


def test_what_is_at_the_hub_already_is_not_sent_again(stage: Stage) -> None:
    content, digest = content_of(3, 1000)
    create(stage.admin, digest, 1000)
    send(stage.admin, digest, 0, content).raise_for_status()

    assert create(stage.admin, digest, 1000).headers["upload-offset"] == "1000"


def test_a_file_that_is_not_what_its_digest_says_is_not_kept(stage: Stage) -> None:
    content, digest = content_of(4, 1000)
    create(stage.admin, digest, 1000)

    refused = send(stage.admin, digest, 0, content[::-1])

    assert (refused.status_code, refused.json()["code"]) == (409, "digest_differs")
    assert stage.admin.get(f"/v1/blobs/{digest}").status_code == 404


def test_a_part_at_the_wrong_place_is_refused_with_the_right_one(stage: Stage) -> None:
    content, digest = content_of(5, 1000)
    create(stage.admin, digest, 1000)
    send(stage.admin, digest, 0, content[:400]).raise_for_status()

    refused = send(stage.admin, digest, 300, content[300:])

    assert (refused.status_code, refused.json()["offset"]) == (409, 400)


def test_more_than_was_said_is_not_taken(stage: Stage) -> None:
    content, digest = content_of(6, 1000)
    create(stage.admin, digest, 900)

    assert send(stage.admin, digest, 0, content).status_code == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Upload-Length": "many"}, 400),
        ({"Upload-Length": "10", "Upload-Metadata": "digest ../../etc"}, 400),
        ({"Upload-Length": "10", "Upload-Metadata": "digest Li4vLi4vZXRj"}, 400),
        ({"Upload-Length": "10", "Tus-Resumable": "0.2.2"}, 412),
    ],
)
def test_an_upload_that_makes_no_sense_is_refused(stage: Stage, headers: dict[str, str], status: int) -> None:
    assert stage.admin.post("/v1/uploads", headers={**TUS, **headers}).status_code == status


def test_a_path_instead_of_a_digest_leads_nowhere(stage: Stage) -> None:
    for trick in ("..%2f..%2fhub.toml", "sha256:" + "A" * 64, "sha256%3A..%2F..%2Fhub.toml", "%00"):
        assert stage.admin.get(f"/v1/blobs/{trick}").status_code in (400, 404), trick


def test_a_release_needs_its_files_first_and_then_reaches_the_sites_it_is_assigned_to(
    stage: Stage, site: SiteHere
) -> None:
    # given a release whose file is not at the hub yet
    content, digest = content_of(7, 5000)
    body = {"name": "inspect", "files": [{"path": "version/model.onnx", "digest": digest, "size_bytes": 5000}]}
    assert stage.admin.post("/v1/models", json=body).json()["code"] == "blobs_missing"

    # when it is sent, pushed and assigned while the site waits for something to live by
    create(stage.admin, digest, 5000)
    send(stage.admin, digest, 0, content).raise_for_status()
    pushed = stage.admin.post("/v1/models", json=body).raise_for_status().json()
    assigned = stage.admin.post("/v1/assignments", json={"model": "inspect", "to": "site=edge-1"}).json()

    # then the site is told what to fetch, and the hub sees that it has not yet
    wanted = site.client.get("/v1/desired", params={"after": 0, "wait_s": 5}).json()
    assert pushed["version"] == 1
    assert assigned["sites"] == ["edge-1"]
    assert wanted["documents"][0]["body"]["files"][0]["digest"] == digest
    detail = stage.admin.get("/v1/sites/edge-1").json()
    assert [(one["name"], one["state"]) for one in detail["difference"]] == [("inspect", "unseen")]
    assert site.client.get("/v1/desired", params={"after": wanted["version"]}).status_code == 204


def test_a_browser_pushes_a_model_as_one_file(stage: Stage) -> None:
    from littoral.model import builtin

    content = (builtin.path() / "surface-little" / "1" / "model.onnx").read_bytes()

    pushed = stage.admin.post("/v1/models/surface", params={"file": "any.onnx"}, content=content)
    wrong = stage.admin.post("/v1/models/surface", params={"file": "any.exe"}, content=b"MZ")

    assert (pushed.status_code, pushed.json()["version"]) == (200, 1)
    assert pushed.json()["files"][0]["path"] == "version/model.onnx"
    assert wrong.json()["code"] == "path_unusable"
