"""The models Littoral ships: a little and a big surface inspector, sixty pictures to try them on, and their report.

All of it was made by the project itself with `tools/builtin_models`; no foreign picture or weight is inside.
"""

from __future__ import annotations

from pathlib import Path


def path() -> Path:
    """The folder that holds the built-in models, a model repository."""
    return Path(__file__).parent


def pictures() -> list[tuple[Path, str]]:
    """The sixty held-out JPEGs with their true labels, in the order of their names."""
    return [(file, file.stem.rpartition("-")[0]) for file in sorted((path() / "pictures").glob("*.jpg"))]
