"""A site's identity as what its doors take: contexts that let in whom the trust domain vouches for, and nobody else."""

from __future__ import annotations

import ssl

from littoral.identity.contexts import Refused
from littoral.identity.site import SiteIdentity


class IdentityTls:
    """TLS for doors from an identity; a renewed certificate is shown by every context as soon as it is installed."""

    names_clients = True

    def __init__(self, identity: SiteIdentity, *, refused: Refused | None = None) -> None:
        self._identity = identity
        self._refused = refused

    def context(self) -> ssl.SSLContext:
        """A context for one door alone."""
        return self._identity.server_context(refused=self._refused)

    def refresh(self) -> bool:
        """Nothing to do: `SiteIdentity.install` has done it."""
        return False
