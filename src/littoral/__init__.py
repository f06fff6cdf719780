"""Littoral runs AI across devices, edge nodes and a cloud hub.

This is the face: the names a user needs, each loaded when it is first touched, so that `import littoral` opens no
file, starts no logger and loads no heavy library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from littoral.core.errors import (
        Conflict as Conflict,
    )
    from littoral.core.errors import (
        Corrupt as Corrupt,
    )

__version__ = "0.1.0"

_PLACES: dict[str, str] = {}

__all__ = ["__version__"]


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'littoral' has no attribute {name!r}")
    return getattr(import_module(place), name)
