"""What each site should live by: computed from assignments, labels, settings and revocations; versioned by change.

Nobody edits a site's documents. After any change that could matter they are computed anew and compared with what is
kept; where they differ the site's version grows by one, and a document that is new or different bears that version.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from littoral.core.desired import Desired, Document
from littoral.core.errors import Conflict, NotFound
from littoral.fleet.selector import Selector
from littoral.fleet.site_settings import KINDS, NAME
from littoral.hub import registry, revoking, site_settings, sites
from littoral.hub.schema import ASSIGNMENTS, DESIRED, SITES
from littoral.hub.sites import Site
from littoral.identity.peers import NOTHING_REVOKED, Revocations
from littoral.model.release import DOCUMENT_KIND, encode_release

ASSIGNMENTS_MAX = 10_000
NOTHING_TOLD: Mapping[tuple[str, str], bytes] = MappingProxyType({})
REVOKED_KIND, REVOKED_NAME = "revoked", "identities"

Contents = dict[tuple[str, str], bytes]
"""Kind and name > the body of a document."""

Changed = Mapping[str, int]
"""Sites that should live by something else than before > the version of that."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One version of a model for every site that the selector means."""

    id: int
    model: str
    version: int
    selector: str
    created_s: float
    created_by: str


def assign(
    connection: Connection, model: str, version: int, selector: Selector, *, by: str, now_s: float
) -> tuple[Assignment, Changed]:
    """Assigns a version (0: the newest) and says which sites now should live by something else.

    An assignment of the same model to the same selector gives way: the latest wins.
    """
    pushed = registry.find(connection, model, version)
    text = str(selector)
    connection.execute(delete(ASSIGNMENTS).where(ASSIGNMENTS.c.model == model, ASSIGNMENTS.c.selector == text))
    values = {"model": model, "version": pushed.version, "selector": text, "created_s": now_s, "created_by": by}
    key = connection.execute(insert(ASSIGNMENTS).values(**values)).inserted_primary_key
    assert key is not None, "the database numbers assignments"
    return Assignment(key[0], model, pushed.version, text, now_s, by), recompute(connection)


def check_seen(connection: Connection, model: str, seen: Collection[int]) -> None:
    """`Conflict` (`assignment_moved`) where a model's assignments are others than somebody saw before they chose."""
    standing = [one for one in assignments(connection) if one.model == model]
    if {one.id for one in standing} == set(seen):
        return
    fresh = next((one for one in reversed(standing) if one.id not in seen), None)
    what = "took one back" if fresh is None else f"gave version {fresh.version} to {fresh.selector}"
    who = "Somebody" if fresh is None else fresh.created_by
    raise Conflict("assignment_moved", f"{who} {what} meanwhile. Nothing was changed; look again.", model=model)


def withdraw(connection: Connection, number: int) -> Changed:
    """Takes an assignment back; the sites that now should live by something else. `NotFound`."""
    if connection.execute(delete(ASSIGNMENTS).where(ASSIGNMENTS.c.id == number)).rowcount == 0:
        raise NotFound("assignment_unknown", f"There is no assignment {number}. Ask for /v1/assignments.")
    return recompute(connection)


def assignments(connection: Connection) -> list[Assignment]:
    """All assignments, oldest first."""
    query = select(ASSIGNMENTS).order_by(ASSIGNMENTS.c.id).limit(ASSIGNMENTS_MAX)
    return [_assignment(row) for row in connection.execute(query)]


def recompute(connection: Connection, only: Iterable[str] | None = None) -> Changed:
    """Brings the documents of all sites (or of `only` some) up to date; the new versions of those that changed."""
    found = sites.every(connection) if only is None else [sites.find(connection, name) for name in only]
    standing = assignments(connection)
    bodies = {
        (one.model, one.version): encode_release(registry.find(connection, one.model, one.version).release)
        for one in standing
    }
    revoked = revoking.read(connection)
    told = {(kind, site): body for kind, site, body in site_settings.every(connection)}
    changed: dict[str, int] = {}
    for site in found:
        version = _bring(connection, site, contents_of(site, standing, bodies, revoked, told))
        if version != site.desired_version:
            changed[site.name] = version
    return changed


def desired(connection: Connection, site: str) -> Desired:
    """All that a site should live by now; `NotFound` (`site_unknown`)."""
    version = sites.find(connection, site).desired_version
    query = select(DESIRED).where(DESIRED.c.site == site).order_by(DESIRED.c.kind, DESIRED.c.name)
    documents = tuple(Document(row.kind, row.name, row.version, row.body) for row in connection.execute(query))
    return Desired(version, documents)


def contents_of(
    site: Site,
    standing: Iterable[Assignment],
    bodies: Mapping[tuple[str, int], bytes],
    revoked: Revocations,
    told: Mapping[tuple[str, str], bytes] = NOTHING_TOLD,
) -> Contents:
    """The documents of one site: of several assignments of one model that mean it, the latest wins. `told` are the
    bodies of settings by kind and site.
    """
    contents: Contents = {}
    if revoked != NOTHING_REVOKED:
        contents[REVOKED_KIND, REVOKED_NAME] = revoked.words()
    if site.revoked_s is not None:
        return contents
    for kind in KINDS:
        if (kind, site.name) in told:
            contents[kind, NAME] = told[kind, site.name]
    for one in standing:
        if Selector.parse(one.selector).matches(site.name, site.labels):
            contents[DOCUMENT_KIND, one.model] = bodies[one.model, one.version]
    return contents


def _bring(connection: Connection, site: Site, wanted: Contents) -> int:
    """Makes a site's documents what they should be; the version thereafter."""
    rows = connection.execute(select(DESIRED).where(DESIRED.c.site == site.name))
    kept = {(row.kind, row.name): bytes(row.body) for row in rows}
    gone = [key for key in kept if key not in wanted]
    fresh = [key for key, body in wanted.items() if kept.get(key) != body]
    if not gone and not fresh:
        return site.desired_version
    version = site.desired_version + 1
    for kind, name in (*gone, *fresh):
        at = (DESIRED.c.site == site.name) & (DESIRED.c.kind == kind) & (DESIRED.c.name == name)
        connection.execute(delete(DESIRED).where(at))
    if fresh:
        connection.execute(
            insert(DESIRED),
            [{"site": site.name, "kind": k, "name": n, "version": version, "body": wanted[k, n]} for k, n in fresh],
        )
    connection.execute(update(SITES).where(SITES.c.name == site.name).values(desired_version=version))
    return version


def _assignment(row: Row[Any]) -> Assignment:
    return Assignment(row.id, row.model, row.version, row.selector, row.created_s, row.created_by)
