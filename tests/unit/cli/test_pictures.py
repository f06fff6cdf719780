"""Which files a command line means."""

from __future__ import annotations

from pathlib import Path

import pytest

from littoral.cli.pictures import expand, read
from littoral.core.errors import NotFound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.png", "sub/c.webp", "sub/notes.txt", "d.JPEG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_a_folder_means_every_picture_below_it_in_order(folder: Path) -> None:
    names = [str(Path(name).relative_to(folder)) for name in expand([str(folder)])]

    assert names == ["a.png", "b.jpg", "d.JPEG", "sub/c.webp"]


def test_a_file_means_itself_whatever_its_name_and_a_glob_what_it_matches(folder: Path) -> None:
    named = list(expand([str(folder / "sub" / "notes.txt"), str(folder / "*.jpg"), str(folder / "**" / "c.*")]))

    assert [Path(name).name for name in named] == ["notes.txt", "b.jpg", "c.webp"]


def test_what_is_not_there_is_kept_so_that_reading_it_says_so(folder: Path) -> None:
    names = list(expand(["-", str(folder / "gone.jpg"), str(folder / "*.gif")]))

    assert [Path(name).name for name in names] == ["-", "gone.jpg", "*.gif"]
    with pytest.raises(NotFound) as failed:
        read(names[1])
    assert failed.value.code == "path_unknown"
