"""`littoral profile`, `plan`, `split` and `link` as processes: from a model file to a decision with its reasons."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from contract.command import ENVIRONMENT, SECONDS_MAX, littoral
from contract.real_models import lay_out, source_of
from littoral.model import builtin
from littoral.model.opening import open_model
from littoral.net.codec import CODECS
from littoral.runtime.placing import AGREEMENT_MIN, place
from littoral.runtime.profiling import profile
from littoral.runtime.splitting import DIFFERENCE_MAX, prove_split


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile of the built-in big model, measured on this machine."""
    file = tmp_path_factory.mktemp("profiles") / "here.json"
    done = littoral("profile", "surface-big", "--rounds", "5", "--out", file)
    assert done.status == 0, done.err
    return file


def test_a_profile_shows_each_block_and_says_what_was_measured(tmp_path: Path) -> None:
    done = littoral("profile", "surface-little", "--rounds", "5", "--json", "--out", tmp_path / "little.json")

    assert done.status == 0
    assert [row["block"] for row in done.rows] == [f"b{index}" for index in range(len(done.rows))]
    assert all(row["ms"] > 0 for row in done.rows)
    assert all(row["best_kb"] <= row["raw_kb"] for row in done.rows[:-1])
    assert "The whole takes" in done.err
    assert "Wrote" in done.err
    assert json.loads((tmp_path / "little.json").read_text())["format"] == 1


def test_a_plan_is_made_of_measured_profiles_and_their_model(profiled: Path) -> None:
    # when this machine, once slowed down, is planned with, over a bad link and a good one
    sites = ["--site", f"pi={profiled}*50", "--site", f"cloud={profiled}"]
    bad = littoral("plan", "surface-big", *sites, "--link", "0.1Mbit/s,600ms", "--json")
    good = littoral("plan", "surface-big", *sites, "--link", "1000Mbit/s,1ms", "--json")

    # then the work stays, and goes
    assert (bad.status, good.status) == (0, 0)
    for done, winner in ((bad, "all on pi"), (good, "all on cloud")):
        plans = [row for row in done.rows if row["kind"] == "plan"]
        assert [row["plan"] for row in plans if row["wins"]] == [winner]
        assert any(len(set(row["sites"].values())) == 2 for row in plans), "a split stands in the table"


def test_a_profile_of_another_file_is_refused_with_what_to_run(profiled: Path) -> None:
    done = littoral(
        "plan", "surface-little", "--site", f"a={profiled}", "--site", f"b={profiled}", "--link", "8Mbit/s,40ms"
    )

    assert done.status == 4
    assert done.out == ""
    assert "error digest_differs" in done.err
    assert "Run on that machine: littoral profile surface-little --out FILE" in done.err


def test_plan_sweeps_and_plots_in_a_few_seconds(profiled: Path, tmp_path: Path) -> None:
    # when everything is asked for at once, over three sites
    started = time.monotonic()
    done = littoral(
        *["plan", "surface-big", "--site", f"pi={profiled}*50", "--site", f"edge={profiled}*5"],
        *["--site", f"cloud={profiled}", "--link", "100Mbit/s,2ms", "--link", "8Mbit/s,40ms"],
        *["--deadline", "50ms", "--sweep", "--plot", tmp_path / "map.png"],
    )

    # then it is there
    assert done.status == 0, done.err
    assert "Who wins over the rate and the round trip of edge-cloud" in done.out
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert time.monotonic() - started < 30


def test_split_writes_two_models_that_any_runtime_opens_and_that_give_the_wholes_answer(tmp_path: Path) -> None:
    # given the built-in model, cut
    done = littoral("split", "surface-big", "--at", "b5", "--out", tmp_path, "--json")
    assert done.status == 0, done.err
    whole, head, tail = (
        ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        for path in (
            builtin.path() / "surface-big" / "1" / "model.onnx",
            tmp_path / "head.onnx",
            tmp_path / "tail.onnx",
        )
    )

    # when a picture's numbers go through both
    entry = whole.get_inputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in entry.shape]
    sample = np.random.default_rng(3).random(shape, dtype=np.float32)
    (crossing,) = head.run(None, {head.get_inputs()[0].name: sample})
    answers = tail.run(None, {tail.get_inputs()[0].name: crossing})

    # then the answer is the whole's, and the table has every codec
    for answer, truth in zip(answers, whole.run(None, {entry.name: sample}), strict=True):
        np.testing.assert_allclose(answer, truth, rtol=1e-5, atol=1e-5 * float(np.abs(truth).max()))
    assert [row["codec"] for row in done.rows] == list(CODECS)
    assert done.rows[0]["agreement"] == 100


def test_an_unknown_cut_lists_those_that_there_are(tmp_path: Path) -> None:
    done = littoral("split", "surface-big", "--at", "b99", "--out", tmp_path)
    assert done.status == 2
    assert "error cut_unknown" in done.err
    assert "b0, b1, b2" in done.err
    assert list(tmp_path.iterdir()) == []


def test_yolox_cut_at_every_block_gives_the_wholes_answer_and_no_plan_breaks_its_codecs_budget(
    littoral_data: Path, tmp_path: Path
) -> None:
    # given the real detector on real pictures
    source = source_of("yolox_nano", littoral_data)
    model = open_model(source)
    pictures = [path.read_bytes() for path in sorted((littoral_data / "images").glob("*.jpg"))]
    measured = profile(model, source.path, pictures, rounds=5)
    assert len(measured.boundaries) >= 3

    # when it is cut at each of its boundaries
    for index, boundary in enumerate(measured.boundaries):
        proof = prove_split(model, source.path, f"b{index}", tmp_path, pictures)
        rows = {row.codec: row for row in proof.rows}

        # then both halves are the whole, and every codec keeps the share of answers that the profile states
        assert rows["raw"].difference <= DIFFERENCE_MAX
        assert rows["raw+zstd"].difference <= DIFFERENCE_MAX
        assert {codec: row.agreement for codec, row in rows.items()} == boundary.agreement

    # and no plan uses one that keeps fewer than it must
    model.close()
    for plan in place({"pi": measured, "cloud": measured}).table.plans:
        assert plan.quality is None or plan.quality >= AGREEMENT_MIN


def test_a_quantized_model_is_cut_where_its_bytes_are_small_and_profiled_in_time(
    littoral_data: Path, tmp_path: Path
) -> None:
    # given a model that computes in eight bits
    lay_out(["mobilenet_v2_qlinear"], littoral_data, tmp_path)

    # when it is profiled on a few pictures
    started = time.monotonic()
    done = littoral(
        *["profile", tmp_path / "mobilenet_v2_qlinear", "--images", littoral_data / "images", "--rounds", "5"],
        "--json",
    )

    # then its boundaries are bytes, which cross as they are
    assert done.status == 0, done.err
    assert time.monotonic() - started < 20
    assert len(done.rows) > 10
    assert {row["codec"] for row in done.rows[:-1]} == {"raw+zstd"}


@contextmanager
def _echo() -> Iterator[int]:
    """A server that sends back what one connection brings; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while content := connection.recv(65536):
                    connection.sendall(content)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()


@contextmanager
def _link(port: int, *arguments: str) -> Iterator[tuple[str, int]]:
    """A running `littoral link` to a port; where it listens."""
    command = [sys.executable, "-m", "littoral", "link", "--listen", "0", "--to", f"127.0.0.1:{port}", "--json"]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        host, _, own = json.loads(process.stdout.readline())["link"].rpartition(":")
        yield host, int(own)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS_MAX) == 0
        assert b"bytes went up" in process.stderr.read()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_a_link_passes_everything_on_no_sooner_than_it_said() -> None:
    # given a link of 8 Mbit/s (a megabyte a second) and 50 ms each way
    with _echo() as port, _link(port, "--rate", "8Mbit/s", "--delay", "50ms") as address:
        # when 100 kB go there and come back
        started = time.monotonic()
        with socket.create_connection(address, timeout=SECONDS_MAX) as connection:
            connection.sendall(bytes(range(256)) * 400)
            came = b""
            while len(came) < 102_400:
                content = connection.recv(65536)
                assert content
                came += content

        # then all of it is there, after the way up, the way down and both delays
        took_s = time.monotonic() - started
    assert came == bytes(range(256)) * 400
    assert took_s >= 0.19


def test_a_link_to_nowhere_or_at_no_rate_is_refused() -> None:
    assert littoral("link", "--listen", "0", "--to", "nowhere").status == 2
    done = littoral("link", "--listen", "0", "--to", "127.0.0.1:9", "--rate", "0")
    assert done.status == 2
    assert "error rate_wrong" in done.err
