"""The first thing a stranger runs, and the measuring verb: each in an empty folder, with nothing prepared."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from contract.command import ENVIRONMENT, littoral, serving
from littoral.model import builtin
from models import doubling_onnx


def test_the_demo_sends_every_picture_and_sums_up(tmp_path: Path) -> None:
    done = littoral("demo", "--single", "--json", folder=tmp_path)

    *answers, summary = done.rows
    pictures = builtin.pictures()
    assert done.status == 0, done.err
    assert len(answers) == 2 * len(pictures) == 120
    assert {row["file"] for row in answers} == {path.name for path, _ in pictures}
    assert all(row["right"] == (row["label"] == row["true_label"]) for row in answers)
    assert all(row["latency_ms"] > 0 and row["site"] and 0 < row["score"] <= 1 for row in answers)
    big = [row["right"] for row in answers if row["model"] == "surface-big"]
    assert summary["models"]["surface-big"]["accuracy"] == pytest.approx(sum(big) / len(big), abs=1e-4)
    assert summary["models"]["surface-big"]["accuracy"] > summary["models"]["surface-little"]["accuracy"]
    assert 20 < summary["server_memory_mb"] < 500
    assert list(tmp_path.iterdir()) == []


def test_the_demo_leaves_no_server_behind(tmp_path: Path) -> None:
    done = littoral("demo", "--single", "--json", "--count", "1", folder=tmp_path)

    host, _, port = done.rows[-1]["http"].rpartition(":")
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0


def test_the_demo_is_readable(tmp_path: Path) -> None:
    lines = littoral("demo", "--single", "--count", "3", folder=tmp_path).out.splitlines()

    assert lines[0].split("  ")[0] == "PICTURE"
    assert "LATENCY ms" in lines[0]
    assert len(lines[1:7]) == 6
    assert any(line.startswith("surface-big ") and "right" in line for line in lines)
    assert any("MB of memory" in line for line in lines)


def test_a_demo_that_is_told_to_stop_stops_its_server_too(tmp_path: Path) -> None:
    # given a demo that would run for long, with its server
    demo = subprocess.Popen(
        [sys.executable, "-m", "littoral", "demo", "--single", "--json", "--seconds", "600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    assert demo.stdout is not None
    try:
        assert demo.stdout.readline()
        children = psutil.Process(demo.pid).children()

        # when it is told to stop
        os.kill(demo.pid, signal.SIGTERM)
        demo.wait(30)
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()

    # then neither is left
    assert len(children) == 1
    assert not children[0].is_running()


def test_bench_measures_the_bare_engine_and_every_door(tmp_path: Path) -> None:
    doubling_onnx(tmp_path / "double.onnx")

    done = littoral("bench", "double.onnx", "--seconds", "0.2", "--concurrency", "1,4", "--json", folder=tmp_path)

    rows = {(row["through"], row["concurrency"]): row for row in done.rows}
    assert done.status == 0, done.err
    assert set(rows) == {
        (way, count) for way in ("bare engine", "HTTP binary", "HTTP JSON", "gRPC") for count in (1, 4)
    }
    assert all(row["failed"] == 0 and row["answered"] > 0 for row in rows.values())
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in rows.values())
    assert rows["bare engine", 1]["p50_ms"] < rows["HTTP binary", 1]["p50_ms"]
    assert "MB of memory" in done.err


def test_bench_measures_a_server_that_runs_already() -> None:
    with serving() as server:
        done = littoral(
            "bench", "surface-little", "--seconds", "0.2", "--concurrency", "2", "--json", "--url", server.url
        )

    assert [row["through"] for row in done.rows] == ["HTTP binary", "HTTP JSON"]
    assert all(row["failed"] == 0 for row in done.rows)


@pytest.mark.parametrize("asked", ["0", "1,,2", "many", "1,5000"])
def test_bench_refuses_a_concurrency_that_is_none(asked: str) -> None:
    done = littoral("bench", "surface-little", "--concurrency", asked)

    assert done.status == 2
    assert "error arguments_wrong: " in done.err


def test_a_fleet_on_one_machine_keeps_every_promise_and_is_gone_afterwards(tmp_path: Path) -> None:
    # given nothing prepared
    temporary = tmp_path / "tmp"
    temporary.mkdir()

    # when the fleet runs for a while with nobody watching
    done = subprocess.run(
        [sys.executable, "-m", "littoral", "demo", "--headless", "--seconds", "15", "--json"],
        capture_output=True,
        check=False,
        text=True,
        cwd=tmp_path,
        env={**ENVIRONMENT, "TMPDIR": str(temporary)},
        timeout=240,
    )

    # then every promise was kept by edges of all speeds, and neither a file nor a process is left
    (line,) = done.stdout.splitlines()
    summary = json.loads(line)
    assert all(summary["promises"].values()), summary
    assert done.returncode == 0, done.stderr
    assert summary["answered"] > 40
    assert {"edge-1", "hub"} <= set(summary["ran_at"])
    assert summary["memory_mb"] < 700
    assert list(temporary.iterdir()) == []
    assert _at_work_in(temporary) == []


def test_ctrl_c_in_a_terminal_ends_a_demo_with_every_promise_kept(tmp_path: Path) -> None:
    # given a demo as in a terminal, where Ctrl-C is for everybody in its session
    demo = subprocess.Popen(
        [sys.executable, "-m", "littoral", "demo", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**ENVIRONMENT, "TMPDIR": str(tmp_path)},
        start_new_session=True,
        text=True,
    )
    assert demo.stderr is not None
    assert any("Ctrl-C ends it" in line for line in demo.stderr)
    edges = [child.pid for child in psutil.Process(demo.pid).children() if "edge" in child.cmdline()]
    in_the_terminal = [pid for pid in edges if os.getsid(pid) == demo.pid]
    # when somebody presses it
    os.killpg(demo.pid, signal.SIGINT)
    told, said = demo.communicate(timeout=120)

    # then it reaches the demo alone, which stops its edges once all they answered has arrived
    assert len(edges) == 3
    assert in_the_terminal == []
    summary = json.loads(told)
    assert all(summary["promises"].values()), (summary, said)
    assert demo.returncode == 0


def test_a_demo_that_is_killed_takes_its_edges_along_also_those_that_are_stopped(tmp_path: Path) -> None:
    # given a demo whose edges are at work, one of which stands still at the moment
    demo = subprocess.Popen(
        [sys.executable, "-m", "littoral", "demo"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**ENVIRONMENT, "TMPDIR": str(tmp_path)},
    )
    while len(list(tmp_path.glob("littoral-demo-*/edge-*"))) < 3 and demo.poll() is None:
        time.sleep(0.05)
    edges = psutil.Process(demo.pid).children()
    edges[0].suspend()

    # when it is killed
    demo.kill()
    demo.wait()

    # then no edge is left
    _, alive = psutil.wait_procs(edges, timeout=60)
    assert alive == []


def _at_work_in(folder: Path) -> list[list[str]]:
    """The command lines of processes that name a folder or have it as their own for temporary files."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join([*process.cmdline(), process.environ().get("TMPDIR", "")]):
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("source", [("--video", "film.avi"), ("--camera", "0")])
def test_a_video_or_a_camera_without_its_extra_is_refused_by_name(tmp_path: Path, source: tuple[str, str]) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('not installed')\n")

    done = littoral("demo", "--headless", *source, PYTHONPATH=str(tmp_path))

    assert done.status == 8
    assert "error extra_missing: " in done.err
    assert "pip install 'littoral[video]'" in done.err


def test_two_sources_of_pictures_are_one_too_many(tmp_path: Path) -> None:
    done = littoral("demo", "--images", tmp_path, "--camera", "0")

    assert done.status == 2
    assert "Choose one of --images, --video and --camera." in done.err


def test_a_folder_without_pictures_is_named_before_anything_starts(tmp_path: Path) -> None:
    done = littoral("demo", "--headless", "--images", tmp_path)

    assert done.status == 3
    assert f"{tmp_path} holds no picture." in done.err
