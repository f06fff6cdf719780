"""Names of models, versions and contents: which spellings are allowed, and how contents are named by digest."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from littoral.core.errors import Invalid, Unavailable

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9_-])?")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def check_name(name: str, *, what: str = "model") -> str:
    """`name` itself if it is at most 128 letters, digits, `.`, `_`, `-` without a dot at an end; else `Invalid`."""
    if _NAME.fullmatch(name) is None:
        raise Invalid(
            "name_unusable",
            f"{name[:60]!r} cannot name a {what}. Use letters, digits, '.', '_' and '-', at most 128, "
            "starting with a letter or digit.",
        )
    return name


def is_version(text: str) -> bool:
    """Whether `text` is a version as repositories write it: a whole number from 1."""
    return _VERSION.fullmatch(text) is not None


def newest(versions: list[str]) -> str:
    """The greatest of some versions by number; they must not be empty."""
    return max(versions, key=int)


def digest_bytes(content: bytes) -> str:
    """`sha256:` and the hexadecimal digest of `content`."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """The digest of a file's content, read in pieces; `Unavailable` if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
