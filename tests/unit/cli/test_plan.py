"""`littoral plan`: every candidate with its terms, the winner and why, how far it holds, and the map of winners."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from littoral.cli.main import run
from unit.cli.profiles import profile, written

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def sites(tmp_path: Path) -> list[str]:
    """A device and a cloud that is ten times quicker."""
    pi, cloud = written(tmp_path, "pi", profile()), written(tmp_path, "cloud", profile(0.1))
    return ["--site", f"pi={pi}", "--site", f"cloud={cloud}"]


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    status = run(["plan", *arguments, "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return [json.loads(line) for line in captured.out.splitlines()]


def _of(rows: list[dict[str, object]], kind: str) -> list[dict[str, object]]:
    return [row for row in rows if row["kind"] == kind]


def test_every_candidate_is_shown_with_terms_that_add_up_and_one_is_marked(
    sites: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    # when the plan for a middling link is asked for
    plans = _of(_json(capsys, *sites, "--link", "10Mbit/s,5ms"), "plan")

    # then there is here, there and the split in between, each with its sum
    assert {str(row["plan"]).partition(",")[0] for row in plans} == {"all on pi", "all on cloud", "pi to b1 | cloud"}
    for row in plans:
        terms = [*row["compute_ms"].values(), *row["up_ms"].values(), *row["down_ms"].values()]  # type: ignore[attr-defined]
        terms += [*row["trips_ms"].values(), row["wait_ms"]]  # type: ignore[attr-defined]
        assert sum(terms) == pytest.approx(row["total_ms"], abs=1e-4)
    assert [row["plan"] for row in plans if row["wins"]] == ["pi to b1 | cloud, int8+zstd"]
    assert plans[0]["wins"]
    assert [row["total_ms"] for row in plans] == sorted(row["total_ms"] for row in plans)  # type: ignore[type-var]


def test_people_get_an_aligned_table_and_the_reasons_beside_it(
    sites: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    # when people ask
    assert run(["plan", *sites, "--link", "10Mbit/s,5ms", "--deadline", "45ms"]) == 0
    out, err = capsys.readouterr()

    # then the table marks the winner and what is late
    heading, first, *others = out.splitlines()
    assert heading.split() == [
        *["PLAN", "TOTAL", "ms", "pi", "ms", "cloud", "ms", "UP", "ms", "DOWN", "ms", "TRIPS", "ms"],
        *["WAIT", "ms", "KEEPS", "%", "LATE"],
    ]
    assert first.startswith("*  pi to b1 | cloud, int8+zstd")
    assert not any(line.startswith("*") for line in others)
    assert [line.split("  ")[1].strip() for line in others if line.endswith("late")] == ["all on pi"]

    # and the story says why, by how much, how far, and what was left out
    assert "pi to b1 | cloud, int8+zstd wins: 30.9 ms in all, of which" in err
    assert "The runner-up is all on cloud: 42 ms; the winner is 26.5% better." in err
    assert "On pi-cloud (asked: 10 Mbit/s and 5 ms) it holds from" in err
    assert "The split pays: it is 26.5% better than the best plan without one, all on cloud (42 ms)." in err
    assert "int4+zstd after b1: it keeps 90.0% of the answers, fewer than 99.0%" in err
    assert "1 of 4 plans is late" in err
    assert "known only where it is measured" in err


def test_the_range_that_is_told_is_where_another_plan_takes_over(
    sites: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    # given the range over which the split holds
    (summary,) = _of(_json(capsys, *sites, "--link", "10Mbit/s,5ms"), "summary")
    low, high = summary["holds"]["pi-cloud"]["rate_mbit_s"]  # type: ignore[index]
    assert low < 10 < high

    # when a link a little beyond either end is asked for
    winners = [
        _of(_json(capsys, *sites, "--link", f"{rate:.6f}Mbit/s,5ms"), "summary")[0]["plan"]
        for rate in (low * 0.99, low * 1.01, high * 0.99, high * 1.01)
    ]

    # then another plan wins outside, the split within
    split = "pi to b1 | cloud, int8+zstd"
    assert [winner == split for winner in winners] == [False, True, True, False]


def test_a_split_that_does_not_pay_is_shown_and_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # given two machines that are equally quick, and a model whose tensors never shrink below the picture
    one = written(tmp_path, "one", profile(sizes=(600_000,) * 4))
    arguments = ["--site", f"a={one}", "--site", f"b={one}", "--link", "8Mbit/s,40ms"]

    # when the plan is asked for
    rows = _json(capsys, *arguments)

    # then the best split stands in the table, and the sentence says that it is not worth it
    (summary,) = _of(rows, "summary")
    assert summary["plan"] == "all on a"
    assert any(" | b" in str(row["plan"]) for row in _of(rows, "plan"))
    story = " ".join(summary["sentences"])  # type: ignore[arg-type]
    assert "Splits were considered and do not pay here" in story
    assert "none is offered" in story


def test_three_sites_in_a_row_have_their_terms_by_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # given a slow device, an edge and a cloud
    files = [written(tmp_path, name, profile(factor)) for name, factor in (("pi", 1.0), ("edge", 0.3), ("cloud", 0.05))]
    sites = [part for file in files for part in ("--site", f"{file.stem}={file}")]

    # when the plan over two unlike links is asked for
    rows = _json(capsys, *sites, "--link", "100Mbit/s,1ms", "--link", "20Mbit/s,5ms")

    # then something runs on the edge, and all on the cloud pays both ways
    plans = {str(row["plan"]): row for row in _of(rows, "plan")}
    assert "all on edge" in plans
    assert plans["all on cloud"]["up_ms"] == {"pi-edge": pytest.approx(3.2), "edge-cloud": pytest.approx(16.0)}
    assert set(_of(rows, "summary")[0]["holds"]) == {"pi-edge", "edge-cloud"}  # type: ignore[call-overload]


def test_a_factor_slows_a_site_down_and_is_called_a_guess(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # given one profile for two machines
    one = written(tmp_path, "mine", profile())

    # when the first is guessed to be eight times slower
    rows = _json(capsys, "--site", f"pi={one}*8", "--site", f"here={one}", "--link", "8Mbit/s,40ms")

    # then it takes eight times as long, and the story says what that rests on
    here, there = (next(row for row in rows if row.get("plan") == f"all on {site}") for site in ("pi", "here"))
    assert here["compute_ms"]["pi"] == pytest.approx(8 * there["compute_ms"]["here"])  # type: ignore[index]
    assert "pi is a guess: 8 times the time of mine.json" in " ".join(_of(rows, "summary")[0]["sentences"])  # type: ignore[arg-type]


def test_the_objective_decides_the_order(sites: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    link = ["--link", "10Mbit/s,300ms"]
    best = {
        objective: _of(_json(capsys, *sites, *link, "--objective", objective, *more), "summary")[0]
        for objective, more in (
            ("latency", []),
            ("throughput", []),
            ("bytes", []),
            ("energy", ["--power", "pi=5W", "--radio-joules-per-mb", "0.1"]),
        )
    }
    assert {objective: str(row["plan"]).partition(",")[0] for objective, row in best.items()} == {
        "latency": "all on pi",
        "throughput": "pi to b1 | cloud",
        "bytes": "all on pi",
        "energy": "all on cloud",
    }
    assert "requests a second" in str(best["throughput"]["sentences"])
    assert "pi 5 W, cloud 0 W; radio of pi 0.1 J/MB" in str(best["energy"]["sentences"])


def test_memory_and_what_must_stay_leave_plans_out_and_say_so(
    sites: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    # when little fits on the device, and when nothing before b2 may leave it
    small = _json(capsys, *sites, "--link", "10Mbit/s,5ms", "--memory", "pi=3kB")
    pinned = _json(capsys, *sites, "--link", "1000Mbit/s,1ms", "--stays", "block:2")

    # then the plans are gone, with the reason
    assert _of(small, "summary")[0]["left_out"]["all on pi"] == "pi has 3 kB for models; this takes 5 kB"  # type: ignore[index]
    for row in _of(pinned, "plan"):
        assert [row["sites"][f"b{index}"] for index in range(3)] == ["pi"] * 3  # type: ignore[index]


def test_the_sweep_is_a_table_for_people_and_a_cell_an_object_for_programs(
    sites: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    # when the same sweep is asked for twice
    cells = _of(_json(capsys, *sites, "--link", "10Mbit/s,5ms", "--sweep", "--deadline", "40ms"), "cell")
    assert run(["plan", *sites, "--link", "10Mbit/s,5ms", "--sweep", "--deadline", "40ms"]) == 0
    out = capsys.readouterr().out

    # then slow links keep the work and quick ones do not, and what is late is marked
    by_link = {(cell["rate_mbit_s"], cell["round_trip_ms"]): cell for cell in cells}
    assert len(by_link) == len(cells) == 9 * 7
    assert (by_link[0.1, 600.0]["place"], by_link[0.1, 600.0]["late"]) == ("all on pi", True)
    assert (by_link[1000.0, 1.0]["place"], by_link[1000.0, 1.0]["late"]) == ("all on cloud", False)
    assert "A  all on pi" in out
    assert "A!" in out
    assert "!  no plan is in time there" in out


def test_the_plot_is_written_as_vectors_and_as_pixels(
    sites: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # when both are asked for
    for kind in ("svg", "png"):
        arguments = ["--link", "10Mbit/s,5ms", "--deadline", "40ms", "--plot", str(tmp_path / f"map.{kind}")]
        assert run(["plan", *sites, *arguments]) == 0
    capsys.readouterr()

    # then the SVG says in words what a report needs
    tree = ElementTree.fromstring((tmp_path / "map.svg").read_text())
    words = [element.text or "" for element in tree.iter(f"{SVG}text")]
    for said in (
        "Where the model runs fastest",
        "rate up the link pi-cloud (Mbit/s)",
        "round trip of pi-cloud (ms)",
        "asked: 10 Mbit/s, 5 ms",
        "all on pi",
        "pi to b1",
    ):
        assert said in words
    assert any("sha256:aa" in word for word in words)
    assert any("2025-01-31" in word for word in words)
    assert all(-1 <= float(element.get("x", 0)) <= 720 for element in tree.iter(f"{SVG}text"))

    # and the PNG has the same regions: at the slow end one colour, at the quick end another
    picture = Image.open(BytesIO((tmp_path / "map.png").read_bytes()))
    slow, quick = picture.getpixel((170, 170)), picture.getpixel((1390, 760))
    assert picture.size == (1440, 1000)
    assert slow not in (quick, (255, 255, 255))
    assert quick != (255, 255, 255)


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["--link", "fast,40ms"], 2, "quantity_unreadable"),
        (["--link", "8Mbit/s"], 2, "link_wrong"),
        (["--link", "0Mbit/s,40ms"], 2, "rate_wrong"),
        ([], 2, "world_links"),
        (["--link", "8Mbit/s,40ms", "--link", "8Mbit/s,40ms"], 2, "world_links"),
        (["--link", "8Mbit/s,40ms", "--stays", "block:9"], 2, "stays_wrong"),
        (["--link", "8Mbit/s,40ms", "--memory", "moon=1MB"], 2, "site_wrong"),
        (["--link", "8Mbit/s,40ms", "--memory", "1MB"], 2, "site_wrong"),
        (["--link", "8Mbit/s,40ms", "--memory", "pi=1B", "--memory", "cloud=1B"], 2, "no_plan"),
        (["--link", "8Mbit/s,40ms", "--objective", "energy"], 2, "power_missing"),
        (["--link", "8Mbit/s,40ms", "--plot", "map.pdf"], 2, "plot_wrong"),
        (["--link", "8Mbit/s,40ms", "--sweep-link", "a-b", "--sweep"], 2, "link_wrong"),
        (["surface-big", "--link", "8Mbit/s,40ms"], 4, "digest_differs"),
        (["no-such-model", "--link", "8Mbit/s,40ms"], 3, "model_unknown"),
    ],
)
def test_a_wrong_question_is_refused_with_its_code(
    sites: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, code: str
) -> None:
    assert run(["plan", *sites, *arguments]) == status
    assert capsys.readouterr().err.startswith(f"error {code}: ")


@pytest.mark.parametrize("site", ["pi", "=x.json", "pi=", "pi={file}*", "pi={file}*0", "pi={file}*-2", "pi={file}*nan"])
def test_a_site_that_cannot_be_read_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], site: str) -> None:
    file = written(tmp_path, "one", profile())
    assert run(["plan", "--site", site.format(file=file), "--site", f"b={file}", "--link", "8Mbit/s,40ms"]) == 2
    assert capsys.readouterr().err.startswith("error site_wrong: ")


def test_one_site_alone_or_a_name_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "one", profile())
    for arguments in (["--site", f"a={file}"], ["--site", f"a={file}", "--site", f"a={file}", "--link", "8,40"]):
        assert run(["plan", *arguments]) == 2
        assert capsys.readouterr().err.startswith("error site_wrong: ")


def test_profiles_of_two_models_or_cut_otherwise_are_refused_with_the_command_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = written(tmp_path, "one", profile())
    for name, other, status, code in (
        ("other", profile(digest="sha256:bb"), 4, "digest_differs"),
        ("fewer", profile(blocks=3), 2, "blocks_differ"),
    ):
        file = written(tmp_path, name, other)
        assert run(["plan", "--site", f"a={one}", "--site", f"b={file}", "--link", "8Mbit/s,40ms"]) == status
        err = capsys.readouterr().err
        assert err.startswith(f"error {code}: ")
        assert "next: littoral profile MODEL --out FILE" in err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"format": 1', '"format": 99'),
        ('"whole_ms": 45', '"whole_ms": -45'),
        ('"ms": 10', '"ms": "soon"'),
        ('"raw": 600000', '"lost": 600000'),
        ('"name": "b4"', '"nam": "b4"'),
        ("{", ""),
    ],
)
def test_a_stale_or_damaged_profile_is_refused_with_the_command_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    # given a profile in which something is wrong
    file = written(tmp_path, "one", profile())
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))

    # when it is planned with
    status = run(["plan", "--site", f"a={file}", "--site", f"b={file}", "--link", "8Mbit/s,40ms"])

    # then it is refused as damaged, and says what to run
    err = capsys.readouterr().err
    assert status == 9
    assert err.startswith("error profile_wrong: ")
    assert "littoral profile MODEL --out FILE" in err


def test_a_profile_of_random_inputs_says_that_its_sizes_mean_little(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "one", profile(real=False))
    assert run(["plan", "--site", f"a={file}", "--site", f"b={file}", "--link", "8Mbit/s,40ms"]) == 0
    assert "random inputs" in capsys.readouterr().err
