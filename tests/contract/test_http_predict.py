"""Pictures over HTTP, as people and curl send them: the plain body, a form, base64 in JSON, the raw tensor body."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.http_stage import Stage, same, serving
from littoral.model import builtin

MODEL = "surface-little"
PREDICT = f"/v2/models/{MODEL}/predict"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with serving(same("FP32"), paths=(builtin.path(),)) as running:
        yield running


@pytest.fixture
def picture() -> Path:
    return builtin.pictures()[0][0]


def form(picture: bytes, **fields: str) -> bytes:
    parts = [
        f'--XyZ\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    head = '--XyZ\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    return "".join(parts).encode() + head.encode() + picture + b"\r\n--XyZ--\r\n"


def test_a_picture_in_gives_labels_out(stage: Stage, picture: Path) -> None:
    with stage.peer() as peer:
        answer = peer.ask("POST", PREDICT + "?top_k=3", picture.read_bytes(), Content_Type="image/jpeg")

    told = answer.json
    assert answer.status == 200
    assert (told["model"], told["version"], told["site"], told["degraded"]) == (MODEL, "1", "here", False)
    assert [set(row) for row in told["predictions"]] == [{"label", "class_id", "score"}] * 3
    scores = [row["score"] for row in told["predictions"]]
    assert scores == sorted(scores, reverse=True)
    assert 0 < told["compute_ms"] <= told["latency_ms"] < 10_000
    assert told["queue_ms"] >= 0


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "image/*", "application/octet-stream", "application/x-www-form-urlencoded", ""]
)
def test_the_kind_of_body_does_not_matter(stage: Stage, picture: Path, kind: str) -> None:
    headers = {"Content_Type": kind} if kind else {}
    with stage.peer() as peer:
        plain = peer.ask("POST", PREDICT, picture.read_bytes(), **headers)
        versioned = peer.ask("POST", f"/v2/models/{MODEL}/versions/1/predict", picture.read_bytes(), **headers)

    assert plain.json["predictions"] == versioned.json["predictions"] != []


def test_a_form_means_the_same_as_the_plain_body(stage: Stage, picture: Path) -> None:
    content = picture.read_bytes()
    with stage.peer() as peer:
        plain = peer.ask("POST", PREDICT + "?top_k=2", content)
        sent = peer.ask("POST", PREDICT, form(content, top_k="2"), Content_Type="multipart/form-data; boundary=XyZ")

    assert plain.json["predictions"] == sent.json["predictions"]
    assert len(sent.json["predictions"]) == 2


def test_infer_takes_the_same_picture_in_binary_and_in_base64(stage: Stage, picture: Path) -> None:
    content = picture.read_bytes()
    raw = len(content).to_bytes(4, "little") + content
    tensor: dict[str, Any] = {"name": "image", "shape": [1], "datatype": "BYTES"}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    text = {**tensor, "data": [base64.b64encode(content).decode()], "parameters": {"encoding": "base64"}}

    with stage.peer() as peer:
        plain = peer.ask("POST", PREDICT + "?top_k=1", content).json["predictions"][0]
        answers = [
            peer.ask(
                "POST",
                f"/v2/models/{MODEL}/infer",
                head + raw,
                Inference_Header_Content_Length=str(len(head)),
            ),
            peer.ask("POST", f"/v2/models/{MODEL}/infer", json.dumps({"inputs": [text]}).encode()),
        ]

    for answer in answers:
        outputs = {output["name"]: output["data"] for output in answer.json["outputs"]}
        assert outputs["label"][0] == plain["label"]
        assert outputs["score"][0] == pytest.approx(plain["score"], abs=1e-5)


@pytest.mark.parametrize(
    ("target", "body", "kind", "code"),
    [
        (PREDICT, b"", "image/jpeg", "image_missing"),
        (PREDICT, b"no picture at all", "image/jpeg", "image_unreadable"),
        (PREDICT, b"{}", "application/json", "image_missing"),
        (PREDICT, form(b""), "multipart/form-data; boundary=XyZ", "image_missing"),
        (PREDICT, form(b"x")[:-20], "multipart/form-data; boundary=XyZ", "form_malformed"),
        (PREDICT, b"x", "multipart/form-data", "form_malformed"),
        (PREDICT + "?top_k=many", b"x", "image/jpeg", "parameter_wrong"),
        (PREDICT + "?top_k=-1", b"x", "image/jpeg", "parameter_wrong"),
        (PREDICT + "?threshold=nan", b"x", "image/jpeg", "parameter_wrong"),
        (PREDICT + "?topk=3", b"x", "image/jpeg", "parameter_unknown"),
        (PREDICT + "?top_k", b"x", "image/jpeg", "parameter_wrong"),
        ("/v2/models/same_fp32/predict", b"x", "image/jpeg", "inputs_wrong"),
    ],
)
def test_what_is_no_picture_is_refused(stage: Stage, target: str, body: bytes, kind: str, code: str) -> None:
    with stage.peer() as peer:
        answer = peer.ask("POST", target, body, Content_Type=kind)
        alive = peer.ask("GET", "/v2/health/live")

    assert (answer.status, answer.json["code"]) == (400, code)
    assert alive.status == 200


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_picture_is_refused(stage: Stage, picture: Path, share: float) -> None:
    content = picture.read_bytes()
    with stage.peer() as peer:
        answer = peer.ask("POST", PREDICT, content[: int(len(content) * share)])
        after = peer.ask("POST", PREDICT, content)

    assert (answer.status, answer.json["code"]) == (400, "image_unreadable")
    assert after.status == 200


def test_a_picture_that_is_a_bomb_is_refused(stage: Stage) -> None:
    header = b"P6 60000 60000 255\n"  # ten gigabytes of pixels, announced in nineteen bytes
    bmp = b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    bmp += (60_000).to_bytes(4, "little") * 2 + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)
    with stage.peer() as peer:
        answers = [peer.ask("POST", PREDICT, body) for body in (header, bmp)]

    assert [answer.status for answer in answers] == [400, 400]
    assert {answer.json["code"] for answer in answers} <= {"image_too_large", "image_unreadable"}


curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def run_curl(*words: str) -> str:
    done = subprocess.run(["curl", "-sS", "--max-time", "20", *words], capture_output=True, check=True)
    return done.stdout.decode()


@curl
@pytest.mark.parametrize("how", ["plain", "form", "chunked", "gzip"])
def test_curl_sends_a_picture_in_one_line(stage: Stage, picture: Path, how: str) -> None:
    url = stage.url + PREDICT
    words = {
        "plain": ["--data-binary", f"@{picture}"],
        "form": ["-F", f"image=@{picture}"],
        "chunked": [
            "-H",
            "Transfer-Encoding: chunked",
            "-H",
            "Content-Type: image/jpeg",
            "-T",
            str(picture),
            "-X",
            "POST",
        ],
        "gzip": ["--compressed", "--data-binary", f"@{picture}"],
    }[how]

    told = json.loads(run_curl(*words, url))

    assert told["predictions"][0]["label"]


@curl
def test_curl_is_shown_where_to_start(stage: Stage) -> None:
    text = run_curl(stage.url + "/")
    metadata = json.loads(run_curl(stage.url + "/v2/"))
    metrics = run_curl("--compressed", stage.url + "/metrics")

    assert "/v2/models/MODEL/predict" in text
    assert metadata["name"] == "littoral"
    assert "littoral_door_requests_total" in metrics


@curl
def test_curl_sees_the_status_of_an_error(stage: Stage) -> None:
    code = run_curl("-o", "/dev/null", "-w", "%{http_code}", "-d", "{}", stage.url + "/v2/models/nothing/infer")

    assert code == "404"
