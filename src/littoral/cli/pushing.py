"""Pushing a model to a hub: its files by digest, from where the hub has them, then the release that names them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from littoral.cli.hub_person import HubPerson
from littoral.cli.progress import Progress
from littoral.cli.recording import record
from littoral.model.release import Release, pack_release
from littoral.model.self_test import SELF_TEST_NAME

_PIECE_BYTES = 4 << 20


def push_model(
    person: HubPerson,
    path: Path,
    *,
    name: str | None = None,
    version: int = 0,
    labels: Mapping[str, str] | None = None,
    samples: Sequence[Path] = (),
) -> dict[str, Any]:
    """A model file or folder becomes a version at the hub (0: its next number); what the hub answers.

    With `samples` (pictures, or .npz files of inputs by name) the model is run here, and what it answers goes with the
    release as its self-test.
    """
    with TemporaryDirectory(prefix="littoral-self-test-") as folder:
        beside: dict[str, Path] = {}
        if samples:
            beside[SELF_TEST_NAME] = Path(folder) / SELF_TEST_NAME
            beside[SELF_TEST_NAME].write_bytes(record(path, samples))
        release, places = pack_release(path, name=name, beside=beside)
        return _push(person, release, places, version, labels or {})


def _push(
    person: HubPerson, release: Release, places: Mapping[str, Path], version: int, labels: Mapping[str, str]
) -> dict[str, Any]:
    for file in release.files:
        _send(person, file.digest, places[file.digest])
    files = [{"path": it.path, "digest": it.digest, "size_bytes": it.size_bytes} for it in release.files]
    body = {"name": release.name, "files": files, "version": version, "labels": dict(labels)}
    made: dict[str, Any] = person.post("/v1/models", body)
    return made


def _send(person: HubPerson, digest: str, path: Path) -> None:
    """Sends a file by the tus protocol, from where the hub has it."""
    size = path.stat().st_size
    tus = {"Tus-Resumable": "1.0.0"}
    told = {"Upload-Length": str(size), "Upload-Metadata": f"digest {b64encode(digest.encode()).decode()}"}
    offset = int(person.send("POST", "/v1/uploads", headers={**tus, **told}).headers["Upload-Offset"])
    part = {**tus, "Content-Type": "application/offset+octet-stream"}
    pieces = -(-(size - offset) // _PIECE_BYTES)
    with path.open("rb") as stream, Progress(pieces, path.name) as progress:
        stream.seek(offset)
        while offset < size:
            headers = {**part, "Upload-Offset": str(offset)}
            answer = person.send("PATCH", f"/v1/uploads/{digest}", headers=headers, content=stream.read(_PIECE_BYTES))
            offset = int(answer.headers["Upload-Offset"])
            progress.step()
