"""`littoral predict` as a process: which pictures, where they run, what is printed, and how it ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.command import Serving, littoral, serving
from littoral.cli import places
from littoral.core.errors import NotFound
from littoral.model import builtin
from models import doubling_onnx

PICTURES = {path.name: (path, truth) for path, truth in builtin.pictures()}
HOLE, TRUTH = next((path, truth) for path, truth in builtin.pictures() if truth == "hole")
MODEL = builtin.path() / "surface-big"


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    with serving("--site", "bench-3") as server:
        yield server


def test_a_picture_through_a_model_in_this_process_needs_nothing_prepared() -> None:
    done = littoral("predict", MODEL, HOLE)

    heading, row = done.out.splitlines()
    assert done.status == 0
    assert heading.split("  ")[0].strip() == "FILE"
    assert TRUTH in row
    assert row.endswith("here")
    assert "in this process" in done.err


def test_at_a_server_the_answer_says_where_it_ran(server: Serving) -> None:
    over_http = littoral("predict", "surface-big", HOLE, "--json", "--url", server.url)
    over_grpc = littoral("predict", "surface-big", HOLE, "--json", "--url", server.grpc_url)

    for done in (over_http, over_grpc):
        (row,) = done.rows
        assert (row["file"], row["model"], row["where"]) == (str(HOLE), "surface-big", "bench-3")
        assert row["predictions"][0]["label"] == TRUTH
        assert row["latency_ms"] > 0
    assert server.url in over_http.err
    assert over_http.rows[0]["predictions"] == over_grpc.rows[0]["predictions"]


def test_the_same_picture_gets_the_same_answer_here_and_there(server: Serving) -> None:
    here = littoral("predict", MODEL, HOLE, "--json", "--top-k", "6").rows[0]
    there = littoral("predict", "surface-big", HOLE, "--json", "--top-k", "6", "--url", server.url).rows[0]

    assert here["predictions"] == there["predictions"]
    assert len(here["predictions"]) == 6


def test_folders_and_globs_give_every_picture_once_in_order(server: Serving, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for target in ("b.jpg", "a.JPG", "deep/c.jpg"):
        shutil.copy(HOLE, tmp_path / target)
    (tmp_path / "notes.txt").write_text("no picture")

    by_folder = littoral("predict", "surface-little", ".", "--json", "--url", server.url, folder=tmp_path)
    by_glob = littoral("predict", "surface-little", "**/*.jpg", "--json", "--url", server.url, folder=tmp_path)

    assert [row["file"] for row in by_folder.rows] == ["a.JPG", "b.jpg", "deep/c.jpg"]
    assert [row["file"] for row in by_glob.rows] == ["b.jpg", "deep/c.jpg"]


def test_a_picture_may_come_from_standard_input(server: Serving) -> None:
    done = littoral("predict", "surface-big", "-", "--json", "--url", server.url, given=HOLE.read_bytes())

    assert done.rows[0]["file"] == "-"
    assert done.rows[0]["predictions"][0]["label"] == TRUTH


def test_sixty_pictures_keep_their_order_and_their_own_answers(server: Serving) -> None:
    folder = next(iter(PICTURES.values()))[0].parent

    done = littoral("predict", "surface-big", folder, "--json", "--url", server.url)

    right = [PICTURES[Path(row["file"]).name][1] == row["predictions"][0]["label"] for row in done.rows]
    assert [Path(row["file"]).name for row in done.rows] == sorted(PICTURES)
    assert sum(right) / len(right) > 0.9


def test_a_picture_that_fails_stops_no_other_and_the_worst_decides_the_status(server: Serving, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(HOLE.read_bytes()[:500])

    done = littoral("predict", "surface-big", broken, "gone.jpg", HOLE, "--json", "--url", server.url)
    plain = littoral("predict", "surface-big", broken, "gone.jpg", HOLE, "--url", server.url)

    assert [row.get("error") for row in done.rows] == ["image_unreadable", "path_unknown", None]
    assert done.rows[2]["predictions"][0]["label"] == TRUTH
    assert done.status == plain.status == 3
    assert "error path_unknown" in plain.err
    assert "  next: " in plain.err
    assert "broken.jpg" not in plain.out


def test_a_deadline_that_cannot_be_kept_is_told_as_such() -> None:
    done = littoral("predict", MODEL, HOLE, "--deadline", "0.001ms")

    assert done.status == 7
    assert "--deadline" in done.err


def test_a_score_below_the_threshold_is_not_shown() -> None:
    done = littoral("predict", MODEL, HOLE, "--threshold", "1", "--json")

    assert done.status == 0
    assert done.rows[0]["predictions"] == []


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["surface-huge", str(HOLE), "--url", "{url}"], 3, "model_unknown"),
        (["surface-huge", str(HOLE)], 3, "model_unknown"),
        (["surface-big"], 2, "arguments_wrong"),
        (["surface-big", str(HOLE), "--deadline", "soon"], 2, "quantity_unreadable"),
        (["surface-big", str(HOLE), "--url", "ftp://here"], 2, "url_unusable"),
        ([str(builtin.path()), str(HOLE)], 2, "models_several"),
        ([str(HOLE), str(HOLE)], 2, "path_unusable"),
    ],
)
def test_what_is_wrong_is_told_before_any_picture_is_sent(
    server: Serving, arguments: list[str], status: int, code: str
) -> None:
    done = littoral("predict", *[word.format(url=server.url) for word in arguments])

    assert done.status == status, done.err
    assert done.err.startswith(f"error {code}: ")
    assert "  next: " in done.err
    assert done.out == ""


@pytest.fixture
def where(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Where a model would run if this machine's own server were at the given address."""
    found: list[places.Place] = []

    def ask(model: str, local_url: str) -> str:
        monkeypatch.setattr(places, "LOCAL_URL", local_url)
        found.append(places.find_place(model, None, None))
        return found[-1].story

    yield ask
    for place in found:
        place.close()


def test_a_name_runs_at_the_server_of_this_machine_if_that_has_it(
    server: Serving, where: Callable[[str, str], str]
) -> None:
    assert server.url in where("surface-big", server.url)


def test_a_built_in_name_runs_here_where_no_server_has_it(
    server: Serving, where: Callable[[str, str], str], tmp_path: Path
) -> None:
    doubling_onnx(tmp_path / "double.onnx")
    with serving(tmp_path / "double.onnx") as other:
        assert "in this process" in where("surface-big", other.url)
    assert "in this process" in where("surface-big", other.url)


def test_a_path_runs_here_whatever_server_there_is(server: Serving, where: Callable[[str, str], str]) -> None:
    assert "in this process" in where(str(MODEL), server.url)


def test_a_name_that_nobody_knows_is_told_with_the_names_that_are(
    server: Serving, where: Callable[[str, str], str]
) -> None:
    with pytest.raises(NotFound) as failed:
        where("surface-huge", server.url)

    assert "surface-big, surface-little" in failed.value.message
