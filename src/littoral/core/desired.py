"""What goes down: the documents that a site should live by. The latest wins; applying one twice changes nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """One desired thing: its kind ("model", "limits", "configuration", "revoked", …), its name among that kind, the
    version (from 1, greater is later) and the JSON that says what is desired.
    """

    kind: str
    name: str
    version: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Desired:
    """All that one site should live by, as of `version`, which grows with every change."""

    version: int
    documents: tuple[Document, ...]
