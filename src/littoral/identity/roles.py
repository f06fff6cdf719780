"""Who may do what: four roles, what each is allowed, and principals whose scopes may narrow that further.

A permission is an area and what is done there. `viewer` looks, `operator` also changes what runs where, `admin` also
says who may do what. `site` is none of these: it reports about itself and reads what is desired of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from littoral.core.errors import Denied, Invalid

Role = Literal["viewer", "operator", "admin", "site"]
ROLES: tuple[Role, ...] = get_args(Role)

_LOOK = frozenset(["sites:read", "models:read", "events:read", "metrics:read"])
_OPERATE = _LOOK | {"sites:write", "models:write", "assignments:write", "tokens:write"}
_ADMINISTER = _OPERATE | {"access:read", "access:write", "sites:revoke", "authority:rotate", "audit:read"}
_REPORT = frozenset(["self:report", "self:read", "blobs:read", "uploads:write"])

PERMISSIONS: dict[Role, frozenset[str]] = {
    "viewer": _LOOK,
    "operator": _OPERATE,
    "admin": _ADMINISTER,
    "site": _REPORT,
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who has proved who they are: a user, a token's owner, or a site. `scopes` None: all of the role's."""

    name: str
    role: Role
    scopes: frozenset[str] | None = None

    def may(self, permission: str) -> bool:
        """Whether the role allows it, and the scopes do not forbid it."""
        assert any(permission in each for each in PERMISSIONS.values()), f"no role has {permission!r}"
        return permission in PERMISSIONS[self.role] and (self.scopes is None or permission in self.scopes)

    def require(self, permission: str) -> None:
        """`Denied` (`permission_missing`) unless this principal may."""
        if not self.may(permission):
            raise Denied(
                "permission_missing",
                f"{self.name} ({self.role}) may not do this: it takes {permission}. Ask an admin.",
                permission=permission,
            )


def check_role(text: str) -> Role:
    """A role by its name; `Invalid` (`role_unknown`) for any other text."""
    for role in ROLES:
        if role == text:
            return role
    raise Invalid("role_unknown", f"There is no role {text[:40]!r}. Take one of: {', '.join(ROLES)}.")


def check_scopes(scopes: frozenset[str], role: Role) -> frozenset[str]:
    """Scopes that a role has; `Invalid` (`scope_unknown`) where one is not among them."""
    beyond = sorted(scopes - PERMISSIONS[role])
    if beyond:
        known = ", ".join(sorted(PERMISSIONS[role]))
        raise Invalid("scope_unknown", f"The role {role} has no scope {beyond[0][:40]!r}. Take some of: {known}.")
    return scopes
