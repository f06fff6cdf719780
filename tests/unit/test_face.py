"""The face: the names people use, and one version everywhere."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import littoral

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_the_one_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert littoral.__version__ == project["version"]


def test_serve_is_a_verb_and_a_room_in_whichever_order_they_are_touched() -> None:
    script = (
        "import littoral; assert callable(littoral.serve); import littoral.serve.statuses as room; "
        "assert callable(littoral.serve); assert littoral.serve.statuses is room; from littoral.serve import statuses"
    )
    other_way = (
        "import littoral.serve.statuses as room; import littoral; assert callable(littoral.serve); "
        "assert littoral.serve.statuses is room"
    )

    for line in (script, other_way):
        subprocess.run([sys.executable, "-c", line], check=True)


def test_every_name_of_the_face_is_listed_and_an_unknown_one_is_an_ordinary_error() -> None:
    assert set(littoral.__all__) <= set(dir(littoral))
    assert not hasattr(littoral, "no_such_name")
