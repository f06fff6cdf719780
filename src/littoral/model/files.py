"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from littoral.core.errors import Unavailable


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside its place, then moves it there; folders are made. `Unavailable` (`file_unwritable`)."""
    beside = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise Unavailable("file_unwritable", f"{path} cannot be written: {error.strerror}.", path=str(path)) from error
