"""Reading what strangers send as JSON: the value, or nothing; no error of a library, which might quote a secret."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def decoded(content: bytes, kind: type[T], *, bytes_max: int) -> T | None:
    """The value that the bytes hold, or None for too many of them and for anything else."""
    if len(content) > bytes_max:
        return None
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
