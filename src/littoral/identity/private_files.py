"""Files that only their owner reads: written whole or not at all, and refused where others could read them."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from littoral.core.errors import Denied, NotFound, Unavailable

_PRIVATE = 0o600
_PUBLIC = 0o644
_OTHERS = 0o077


def make_folder(folder: Path) -> None:
    """The folder, readable by its owner alone where it is made here; it survives a power cut, with those above it."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for one in missing:
            _sync_folder(one.parent)
    except OSError as error:
        raise Unavailable("file_unwritable", f"{folder} cannot be made: {error.strerror}.", path=str(folder)) from error


def write_private(path: Path, content: bytes) -> None:
    """Writes what only the owner may read (mode 0600): after a crash the file is the old one or the new one, whole."""
    _write(path, content, _PRIVATE)


def write_public(path: Path, content: bytes) -> None:
    """Writes what anybody may read, whole or not at all."""
    _write(path, content, _PUBLIC)


def read_private(path: Path) -> bytes:
    """A private file's content; `Denied` (`key_exposed`) where the group or others have any right to it."""
    try:
        with path.open("rb") as stream:
            if os.name == "posix" and os.fstat(stream.fileno()).st_mode & _OTHERS:
                raise Denied(
                    "key_exposed",
                    f"{path} can be read by others than its owner. Take those rights away: chmod 600 {path}",
                    path=str(path),
                )
            return stream.read()
    except FileNotFoundError as error:
        raise NotFound("file_missing", f"{path} is not there.", path=str(path)) from error
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error


def _write(path: Path, content: bytes, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        # Made with its final rights: a key that is readable for a moment is readable.
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise Unavailable("file_unwritable", f"{path} cannot be written: {error.strerror}.", path=str(path)) from error


def _sync_folder(folder: Path) -> None:
    """Without this a crash may bring the old name back."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
