"""The keys that open a door: read from a file, kept as digests, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from littoral.core.errors import Invalid, Unavailable

KEY_CHARACTERS_MIN = 16


class ApiKeys:
    """Some keys. Called with what a caller sent, a key or `Bearer KEY`, it says whether that is one of them."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def __call__(self, key: str | None) -> bool:
        if key is None:
            return False
        scheme, space, rest = key.partition(" ")
        given = _digest(rest.strip() if space and scheme.lower() == "bearer" else key)
        found = False
        for digest in self._digests:  # all of them, so that the time taken does not say which one matched
            found |= hmac.compare_digest(digest, given)
        return found


def read_api_keys(path: Path) -> ApiKeys:
    """The keys in a file, one a line; empty lines and lines that start with `#` do not count.

    Raises `Unavailable` (`file_unreadable`), and `Invalid` (`api_keys_wrong`) for a file without a key or with one of
    fewer than 16 characters, which could be guessed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("file_unreadable", f"The key file {path} cannot be read: {error}.", path=str(path)) from error
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise Invalid("api_keys_wrong", f"The key file {path} has no key. Write one a line.", path=str(path))
    if any(len(key) < KEY_CHARACTERS_MIN for key in keys):
        raise Invalid(
            "api_keys_wrong",
            f"The key file {path} has a key of fewer than {KEY_CHARACTERS_MIN} characters. Take a longer one.",
            path=str(path),
        )
    return ApiKeys(keys)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
