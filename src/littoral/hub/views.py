"""How the API words sites, events, models and tokens; also the schemas of its OpenAPI document."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

import msgspec

from littoral.core.event import Dropped, Event
from littoral.fleet.twin import encode_reported
from littoral.hub.attendance import Standing
from littoral.hub.desired import Assignment
from littoral.hub.events import Kept
from littoral.hub.registry import Pushed
from littoral.identity.tokens import ApiToken
from littoral.identity.users import User
from littoral.model.release import Release


class SiteView(msgspec.Struct):
    """A site as it stands: times in seconds since 1970, `reported` as the site last said it."""

    name: str
    state: str
    away: bool
    state_since_s: float
    first_seen_s: float
    last_seen_s: float
    labels: dict[str, str]
    certificate: dict[str, Any]
    revoked_s: float | None
    reported: msgspec.Raw


class EventView(msgspec.Struct):
    """An event: `body` where it is JSON, `body_base64` where it is not; a gap has `kind` "dropped" and `bytes_lost`."""

    id: int
    site: str
    stream: str
    kind: str
    log: str
    sequence: int
    last: int
    wall_s: float
    received_s: float
    body: msgspec.Raw | None = None
    body_base64: str | None = None
    bytes_lost: int | None = None
    reason: str | None = None


class FileView(msgspec.Struct):
    """One file of a release."""

    path: str
    digest: str
    size_bytes: int


class QualityView(msgspec.Struct):
    """What was measured of a model, on how much, and where that comes from."""

    metric: str
    value: float
    samples: int | None = None
    source: str = ""


class VersionView(msgspec.Struct):
    """One version of a model in the registry."""

    name: str
    version: int
    digest: str
    size_bytes: int
    self_test: bool
    labels: dict[str, str]
    pushed_s: float
    pushed_by: str
    files: list[FileView]
    quality: QualityView | None = None


class ModelView(msgspec.Struct):
    """A model and its versions, newest first."""

    name: str
    versions: list[VersionView]


class AssignmentView(msgspec.Struct):
    """One version of a model for every site that `to` means."""

    id: int
    model: str
    version: int
    to: str
    created_s: float
    created_by: str


class UserView(msgspec.Struct):
    """Somebody with a password."""

    name: str
    role: str
    made_s: float
    disabled: bool


class TokenView(msgspec.Struct):
    """A token without its secret; `scopes` null: all that its role may."""

    number: str
    owner: str
    role: str
    made_s: float
    until_s: float
    scopes: list[str] | None


def site_view(standing: Standing) -> SiteView:
    """A site."""
    return SiteView(
        standing.name,
        "revoked" if standing.revoked_s is not None else standing.presence.state,
        standing.presence.away,
        standing.state_since_s,
        standing.first_seen_s,
        standing.last_seen_s,
        standing.labels,
        standing.certificate,
        standing.revoked_s,
        msgspec.Raw(encode_reported(standing.reported)),
    )


def event_view(kept: Kept) -> EventView:
    """An event or a gap."""
    entry = kept.entry
    view = EventView(
        kept.id,
        entry.site,
        entry.stream,
        "dropped" if isinstance(entry, Dropped) else entry.kind,
        entry.log,
        entry.sequence,
        entry.last,
        entry.wall_s,
        kept.received_s,
    )
    if isinstance(entry, Dropped):
        view.bytes_lost, view.reason = entry.bytes_lost, entry.reason
    elif _is_json(entry):
        # On one line, since a line break would end an event of a stream.
        view.body = msgspec.Raw(msgspec.json.format(entry.body, indent=-1))
    else:
        view.body_base64 = base64.b64encode(entry.body).decode()
    return view


def version_view(pushed: Pushed, quality: QualityView | None = None) -> VersionView:
    """A version of a model."""
    release = pushed.release
    files = [FileView(file.path, file.digest, file.size_bytes) for file in release.files]
    return VersionView(
        pushed.name,
        pushed.version,
        release.digest,
        release.size_bytes,
        pushed.self_tested,
        pushed.labels,
        pushed.created_s,
        pushed.created_by,
        files,
        quality,
    )


def model_views(found: Iterable[Pushed], quality: Callable[[Release], QualityView | None]) -> list[ModelView]:
    """Models by name, of versions in their order."""
    return [
        ModelView(name, [version_view(one, quality(one.release)) for one in versions][::-1])
        for name, versions in groupby(found, key=lambda pushed: pushed.name)
    ]


def assignment_view(one: Assignment) -> AssignmentView:
    """An assignment."""
    return AssignmentView(one.id, one.model, one.version, one.selector, one.created_s, one.created_by)


def user_view(user: User) -> UserView:
    """A user."""
    return UserView(user.name, user.role, user.made_s, user.disabled)


def token_view(token: ApiToken) -> TokenView:
    """A token."""
    scopes = None if token.scopes is None else sorted(token.scopes)
    return TokenView(token.number, token.owner, token.role, token.made_s, token.until_s, scopes)


def _is_json(event: Event) -> bool:
    try:
        msgspec.json.decode(event.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
