"""Which hub a site belongs to, and how it came to: one small file beside the site's identity.

A site joins once, with a token. From then on its folder says everything; neither the hub nor the token is needed to
start again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from littoral.core.errors import Conflict, Corrupt, NotFound, Unavailable
from littoral.core.ident import check_name
from littoral.edge.hub_talk import converse
from littoral.identity.conversations import joining
from littoral.identity.enrol import JoinToken
from littoral.identity.private_files import make_folder, write_public
from littoral.identity.site import SiteIdentity

FILE_NAME, IDENTITY = "edge.json", "identity"


class Membership(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: the hub's URL, and the name under which the site joined."""

    hub: str
    site: str


@dataclass(frozen=True, slots=True)
class Joined:
    """A site that belongs to a hub."""

    membership: Membership
    identity: SiteIdentity


def join(folder: Path, token: JoinToken, site: str, *, hub: str = "") -> Joined:
    """Joins the token's hub (at the URL `hub` where that is told) under a name; blocks for some round trips.

    Joining again with the same token, after an answer was lost, is joining once; a folder that has its certificate
    needs none. Raises `Conflict` (`site_joined`) where the folder belongs to another name already, and what the hub
    refuses with.
    """
    check_name(site, what="site")
    make_folder(folder)
    membership = Membership(hub or token.hub, site)
    identity = SiteIdentity.open(folder / IDENTITY)
    if identity.who is None:
        converse(joining(token, site, identity), membership.hub)
    elif identity.who.site != site:
        raise Conflict("site_joined", f"{folder} belongs to {identity.who} already. Use a fresh folder.")
    write_public(folder / FILE_NAME, msgspec.json.encode(membership) + b"\n")
    return Joined(membership, identity)


def membership_of(folder: Path) -> Joined:
    """What the folder says; `NotFound` (`site_missing`) where the site never joined."""
    membership = _read(folder)
    if membership is None:
        raise NotFound(
            "site_missing", f"{folder} has not joined a hub. Run: littoral join --token TOKEN --dir {folder}"
        )
    return Joined(membership, SiteIdentity.open(folder / IDENTITY))


def _read(folder: Path) -> Membership | None:
    path = folder / FILE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Membership)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Corrupt("site_file_wrong", f"{path} cannot be read: {error}. Join anew.", path=str(path)) from error
