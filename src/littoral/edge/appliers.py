"""What a site lives by beside models: who is shut out, what may go up, and how often it speaks; none of it outlasts a
start by itself, so the agent applies it again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from littoral.core.desired import Document
from littoral.core.errors import Invalid
from littoral.edge.settings import Bounds
from littoral.fleet.site_settings import Limits
from littoral.identity.peers import NOTHING_REVOKED, Revocations, read_revocations

T = TypeVar("T")
REVOKED = "revoked"


def bounds_of(limits: Limits, bounds: Bounds) -> Bounds:
    """What was told, over the bounds that the site was started with."""
    return replace(
        bounds,
        escalation_share=_first(limits.escalation_share, bounds.escalation_share),
        upload_bytes_per_hour=_first(limits.upload_bytes_per_hour, bounds.upload_bytes_per_hour),
        audit_share=_first(limits.audit_share, bounds.audit_share),
    )


def _first(told: float | None, otherwise: T) -> float | T:
    return otherwise if told is None else told


class RevokedApplier:
    """Shuts out whom the hub has revoked, also while the hub is away."""

    def __init__(self, revoke: Callable[[Revocations], None]) -> None:
        self._revoke = revoke

    def holds(self, name: str) -> bool:
        """Contexts are made anew with each start."""
        return False

    async def apply(self, document: Document) -> None:
        """The list replaces the one before."""
        self._revoke(read_revocations(document.body))

    async def remove(self, name: str) -> None:
        """Nobody is revoked any more."""
        self._revoke(NOTHING_REVOKED)


class ValueApplier:
    """Hands a document's value to whoever lives by it, and an empty one where it is desired no more."""

    def __init__(self, kind: type[T], use: Callable[[T], Awaitable[None]]) -> None:
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
        self._none = kind
        self._use: Callable[..., Awaitable[None]] = use

    def holds(self, name: str) -> bool:
        """Values live in memory."""
        return False

    async def apply(self, document: Document) -> None:
        """`Invalid` (`document_wrong`) for a value that this site cannot live by."""
        try:
            value = self._decoder.decode(document.body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Invalid(
                "document_wrong", f"The {document.kind} {document.name!r} cannot be used: {error}."
            ) from error
        await self._use(value)

    async def remove(self, name: str) -> None:
        """As the site was started."""
        await self._use(self._none())
