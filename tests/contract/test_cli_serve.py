"""`littoral serve` as a process: what it prints, what it survives, and how it stops."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from contract.command import littoral, serving
from littoral.core.errors import Denied, LittoralError
from littoral.model import builtin
from littoral.serve.client.client import Client
from models import doubling_onnx

ROW = {"x": np.ones((1, 4), np.float32)}

SLOW = """
import littoral

@littoral.operator(inputs=[("x", "FP32", (1,))], outputs=[("y", "FP32", (1,))])
def slow(x):
    open({begun!r}, "w").close()
    open({release!r}).close()
    return x + 1
"""


def test_one_line_says_where_it_serves_and_what(tmp_path: Path) -> None:
    doubling_onnx(tmp_path / "double.onnx")

    with serving(tmp_path / "double.onnx", "--site", "bench-3") as server:
        with Client(server.url) as over_http, Client(server.grpc_url) as over_grpc:
            answers = [client.infer("double", ROW) for client in (over_http, over_grpc)]
        ready = server.ready

    assert list(ready) == ["site", "http", "grpc", "models", "tls"]
    assert ready["site"] == "bench-3"
    assert ready["models"] == ["double"]
    assert ready["http"].startswith("127.0.0.1:")
    assert [answer["y"].tolist() for answer in answers] == [[[2.0] * 4]] * 2
    assert {answer.site for answer in answers} == {"bench-3"}


def test_without_a_path_it_serves_the_built_in_models_and_says_so() -> None:
    with serving() as server:
        ready = server.ready
        assert server.stop() == 0
        assert server.process.stderr is not None
        told = server.process.stderr.read().decode()

    assert ready["models"] == ["surface-big", "surface-little"]
    assert "built-in models" in told


def test_a_server_that_is_open_to_everybody_says_so() -> None:
    with serving("--host", "0.0.0.0", "--http-port", "0") as server:
        told = server.until_told("may ask")

    assert (told["level"], told["host"]) == ("warning", "0.0.0.0")


def test_a_folder_of_models_may_be_named_either_way(tmp_path: Path) -> None:
    doubling_onnx(tmp_path / "one" / "alpha" / "1" / "model.onnx")
    doubling_onnx(tmp_path / "two" / "beta" / "3" / "model.onnx")

    with serving(tmp_path / "one", "--repository", tmp_path / "two") as server, Client(server.url) as client:
        entries = {(entry.name, entry.version, entry.state) for entry in client.models()}

    assert entries == {("alpha", "1", "READY"), ("beta", "3", "READY")}


def test_a_model_that_cannot_be_loaded_is_told_and_stops_no_other(tmp_path: Path) -> None:
    doubling_onnx(tmp_path / "good.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"this is no model")

    with serving(tmp_path) as server:
        told = server.until_told("not loaded")
        with Client(server.url) as client:
            answer = client.infer("good", ROW)
            entries = {entry.name: entry for entry in client.models()}
            ready = client.ready()

    assert server.ready["models"] == ["good"]
    assert (told["model"], told["code"]) == ("broken", "model_unreadable")
    assert answer["y"].tolist() == [[2.0] * 4]
    assert entries["broken"].state == "UNAVAILABLE"
    assert "broken.onnx" in entries["broken"].reason
    assert not ready


def test_where_no_model_can_be_loaded_it_ends_with_that_errors_status(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"this is no model")

    done = littoral("serve", "--http-port", "0", "--grpc-port", "0", tmp_path / "broken.onnx")

    assert done.status == 9
    assert done.out == ""
    assert "error model_unreadable: " in done.err
    assert "broken.onnx" in done.err
    assert "  next: littoral " in done.err


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["nowhere"], 3, "path_unknown"),
        (["--threads", "0"], 2, "arguments_wrong"),
        (["--http-port", "70000"], 2, "arguments_wrong"),
        (["--site", "no spaces, please"], 2, "name_unusable"),
        (["--api-key-file", "nowhere"], 8, "file_unreadable"),
        (["--models-limit-mb", "0.001"], 6, "models_limit"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_served(
    arguments: list[str], status: int, code: str, tmp_path: Path
) -> None:
    done = littoral("serve", "--http-port", "0", "--grpc-port", "0", *arguments, folder=tmp_path)

    assert done.status == status, done.err
    assert f"error {code}: " in done.err
    assert done.out == ""


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_a_taken_port_is_told_with_a_command_that_takes_a_free_one(door: str) -> None:
    with serving() as server:
        port = server.ready[door].rpartition(":")[2]
        other = "grpc" if door == "http" else "http"

        done = littoral("serve", f"--{door}-port", port, f"--{other}-port", "0")

        with Client(server.url) as client:
            assert client.ready()

    assert done.status == 8
    assert "error port_taken: " in done.err
    assert port in done.err
    assert "  next: littoral serve --http-port 0 --grpc-port 0" in done.err


def test_a_request_in_flight_is_answered_before_sigterm_ends_the_server(tmp_path: Path) -> None:
    # given a server with a model that is in the middle of a request
    begun, release = tmp_path / "begun", tmp_path / "release"
    os.mkfifo(begun)
    os.mkfifo(release)
    model = tmp_path / "slow.py"
    model.write_text(SLOW.format(begun=str(begun), release=str(release)))
    answers: list[list[float]] = []

    with serving(model) as server:

        def ask() -> None:
            with Client(server.url, retries=0) as client:
                answers.append(client.infer("slow", {"x": np.ones(1, np.float32)})["y"].tolist())

        asking = threading.Thread(target=ask)
        asking.start()
        begun.read_bytes()

        # when it is told to stop, and the model goes on only after that
        server.process.terminate()
        server.until_told("Stopping")
        release.write_bytes(b"")
        asking.join(10)

        # then the request is answered, and the server has ended well
        assert answers == [[2.0]]
        assert server.process.wait(10) == 0


def test_a_second_signal_does_not_wait_for_a_request_that_hangs(tmp_path: Path) -> None:
    begun, release = tmp_path / "begun", tmp_path / "release"
    os.mkfifo(begun)
    os.mkfifo(release)
    model = tmp_path / "slow.py"
    model.write_text(SLOW.format(begun=str(begun), release=str(release)))

    with serving(model) as server:

        def ask() -> None:
            with Client(server.url, retries=0) as client, pytest.raises(LittoralError):
                client.infer("slow", {"x": np.ones(1, np.float32)})

        asking = threading.Thread(target=ask)
        asking.start()
        begun.read_bytes()
        server.process.terminate()
        server.until_told("Stopping")

        server.process.terminate()

        assert server.process.wait(10) != 0
        asking.join(10)


def test_keys_are_asked_for_where_a_key_file_is_given(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first-key-of-the-house\n")

    with serving("--api-key-file", keys) as server:
        with Client(server.url) as stranger, pytest.raises(Denied):
            stranger.models()
        listed = littoral("models", "--json", "--url", server.url, "--api-key-file", keys)
        refused = littoral("models", "--url", server.url)
        by_environment = littoral(
            "models", "--json", LITTORAL_URL=server.url, LITTORAL_API_KEY="first-key-of-the-house"
        )

    assert [row["model"] for row in listed.rows] == ["surface-big", "surface-little"]
    assert by_environment.rows == listed.rows
    assert refused.status == 5
    assert "  next: littoral models --api-key-file FILE" in refused.err


def test_models_lists_what_a_server_has_and_why_one_is_not_ready(tmp_path: Path) -> None:
    doubling_onnx(tmp_path / "good.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"this is no model")

    with serving(tmp_path, builtin.path()) as server:
        as_json = littoral("models", "--json", "--url", server.url).rows
        over_grpc = littoral("models", "--json", "--url", server.grpc_url).rows
        table = littoral("models", "--url", server.url).out.splitlines()

    rows = {row["model"]: row for row in as_json}
    assert (rows["good"]["state"], rows["good"]["platform"], rows["good"]["task"]) == (
        "READY",
        "onnxruntime_onnx",
        "tensor",
    )
    assert (rows["surface-big"]["state"], rows["surface-big"]["task"]) == ("READY", "classify")
    assert rows["broken"]["state"] == "UNAVAILABLE"
    assert rows["broken"]["reason"]
    assert [(row["model"], row["state"]) for row in over_grpc] == [(row["model"], row["state"]) for row in as_json]
    assert table[0].split() == ["MODEL", "VERSION", "STATE", "PLATFORM", "TASK", "REASON"]
    assert len(table) == 5


def test_models_without_a_server_says_how_to_start_one() -> None:
    with serving() as server:
        gone = server.url

    done = littoral("models", "--url", gone)

    assert done.status == 8
    assert "error server_away: " in done.err
    assert "  next: littoral serve" in done.err
