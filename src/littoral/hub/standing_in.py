"""Which models the hub serves itself: a pure rule over the registry, the assignments and the sites that are away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from littoral.fleet.selector import Selector
from littoral.fleet.twin import Reported
from littoral.hub.desired import Assignment
from littoral.model.release import DOCUMENT_KIND


def served_by(reported: Reported) -> frozenset[str]:
    """The models that a site served by its last word."""
    return frozenset(it.name for it in reported.reports if it.kind == DOCUMENT_KIND and it.serving > 0)


def wanted(
    versions: Mapping[str, int],
    assignments: Iterable[Assignment],
    away: Mapping[str, frozenset[str]],
    *,
    own_name: str,
    serve_all: bool,
) -> dict[str, int]:
    """Model > version that the hub should serve.

    `versions` are the newest of the registry, `away` what sites served that are silent. A model that is assigned
    anywhere is served in the version of its latest assignment, since that is the one that sites compare with; else in
    the newest. Unless `serve_all`, only what is assigned to the hub by its own name is served, and what is missed.
    """
    chosen = dict(versions)
    own: set[str] = set()
    for one in assignments:
        chosen[one.model] = one.version
        if Selector.parse(one.selector).matches(own_name, {}):
            own.add(one.model)
    missed = frozenset().union(*away.values())
    return {name: version for name, version in chosen.items() if serve_all or name in own or name in missed}
