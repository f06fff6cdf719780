"""Every place that a page points to is there: links, anchors, and paths named in the text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.collect import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
TOP = ("src/", "tests/", "docs/", "benchmarks/", "tools/", "scripts/", "proto/", ".ci/")
A_PATH = re.compile(r"[\w.*-]+(?:/[\w.*-]+)*/?")
NOT_MADE_YET = ("benchmarks/results/",)  # what a benchmark writes is there after it ran


def linked(text: str) -> list[str]:
    """The targets of a page's links that lead into the repository."""
    return [target for target in LINK.findall(FENCE.sub("", text)) if "://" not in target]


def named_paths(text: str) -> list[str]:
    """What a page names in `code` that looks like a place in the repository or the package."""
    rooms = tuple(f"{room.name}/" for room in (ROOT / "src" / "littoral").iterdir() if room.is_dir())
    found = [word for word in CODE.findall(FENCE.sub("", text)) if A_PATH.fullmatch(word)]
    return [word for word in found if word.startswith(TOP) or (word.startswith(rooms) and word.count("/") >= 1)]


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_there(path: str) -> bool:
    """Whether a path, which may hold a `*` or lack a module's `.py`, is in the repository or in the package."""
    return any(
        any(base.glob(path.rstrip("/"))) if "*" in path else (base / path).exists() or (base / f"{path}.py").exists()
        for base in (ROOT, ROOT / "src" / "littoral")
    )


def dead_links(page: Path) -> list[str]:
    dead = []
    for target in linked(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        place = (page.parent / name) if name else page
        if not place.exists() or (anchor and anchor not in anchors(place.read_text(encoding="utf-8"))):
            dead.append(target)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    planned = set(re.findall(r"`([^`]+)`", _first_column(text))) if page.parent.name == "decisions" else set()

    missing = [
        path
        for path in named_paths(text)
        if not is_there(path) and not path.startswith(NOT_MADE_YET) and path not in planned
    ]

    assert missing == []


def _first_column(text: str) -> str:
    """The first cells of a decision's tables: what was planned, which need not be there."""
    return "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|"))


def test_every_file_that_the_architecture_calls_by_its_name_alone_is_in_the_package() -> None:
    # given the files of the package and of its tests' checkers, by name
    known = {path.name for path in (ROOT / "src" / "littoral").rglob("*.py")}

    # when the page's words that are a file's name are read
    words = CODE.findall((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    called = {word for word in words if re.fullmatch(r"\w+\.py", word)}

    # then each is one of them
    assert called
    assert called - known == set()


def test_every_page_is_on_the_map() -> None:
    # given every page in docs/
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}

    # when the map's links are read
    shown = set(linked((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))

    # then none is missing
    assert pages - shown == set()


def test_every_decision_has_its_own_number() -> None:
    numbers = [page.name.partition("-")[0] for page in (ROOT / "docs" / "decisions").glob("*.md")]

    assert sorted(numbers) == sorted(set(numbers))
    assert all(re.fullmatch(r"\d{4}", number) for number in numbers)


def test_a_dead_link_a_lost_anchor_and_a_lost_path_are_seen(tmp_path: Path) -> None:
    # given a page with one good and one bad of each
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[good](#here) [lost](#there) [gone](gone.md) `core/errors.py` `core/gone.py` `tests/no-such/`\n"
        "```text\n[not](read.md) `core/nor_this.py`\n```\n"
    )
    text = page.read_text()

    # when it is read
    lost = [path for path in named_paths(text) if not is_there(path)]

    # then only the bad ones are told
    assert dead_links(page) == ["#there", "gone.md"]
    assert lost == ["core/gone.py", "tests/no-such/"]
