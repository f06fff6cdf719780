"""SPIFFE ids: `spiffe://<domain>/site/<name>` for a site, `spiffe://<domain>/hub` for the hub of a trust domain.

Source: "The SPIFFE Identity and Verifiable Identity Document", https://spiffe.io/docs/latest/spiffe-specs/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from littoral.core.errors import Invalid, LittoralError
from littoral.core.ident import check_name

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DOMAIN_CHARACTERS_MAX = 180
_SCHEME = "spiffe://"


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """Somebody in a trust domain: the site of that name, or the hub where `site` is None."""

    domain: str
    site: str | None

    def __str__(self) -> str:
        path = "hub" if self.site is None else f"site/{self.site}"
        return f"{_SCHEME}{self.domain}/{path}"


def check_domain(domain: str) -> str:
    """`domain` itself if it can name a trust domain: lower-case labels joined by dots, at most 180 characters."""
    if len(domain) > _DOMAIN_CHARACTERS_MAX or _DOMAIN.fullmatch(domain) is None:
        raise Invalid(
            "domain_unusable",
            f"{domain[:60]!r} cannot name a trust domain. Write it like a host: small letters, digits, '-' and '.'.",
        )
    return domain


def site_id(domain: str, site: str) -> SpiffeId:
    """The id of a site; `Invalid` where the domain or the name cannot be one."""
    return SpiffeId(check_domain(domain), check_name(site, what="site"))


def hub_id(domain: str) -> SpiffeId:
    """The id of a domain's hub."""
    return SpiffeId(check_domain(domain), None)


def read_id(uri: str) -> SpiffeId | None:
    """What a URI names, if it is the id of a site or a hub, spelt exactly so; else None."""
    if not uri.startswith(_SCHEME):
        return None
    domain, slash, path = uri[len(_SCHEME) :].partition("/")
    try:
        if path == "hub" and slash:
            return hub_id(domain)
        kind, slash, name = path.partition("/")
        return site_id(domain, name) if kind == "site" and slash else None
    except LittoralError:
        return None
