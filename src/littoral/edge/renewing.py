"""Keeps a site's certificate fresh in the background: the hub's time at first contact, a new certificate at half life.

Nothing waits for it: models are served whatever becomes of the certificate, and a site that was away for a year renews
when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from littoral.core.errors import Denied, LittoralError
from littoral.edge.hub_talk import converse
from littoral.identity.conversations import learning_time, renewing
from littoral.identity.site import SiteIdentity
from littoral.monitor.log import log_of

_LOG = log_of("edge.renewing")
LOOK_S = 30.0
TIME_S = 3600.0
AGAIN_S, AGAIN_S_MAX = 2.0, 120.0
DENIED_S = 900.0


class Renewing:
    """One site's; `on_renewed` and `on_denied` are told what came of it. `run` lasts until it is cancelled."""

    def __init__(
        self,
        identity: SiteIdentity,
        hub: str,
        *,
        on_renewed: Callable[[float], None] = lambda _until_s: None,
        on_denied: Callable[[LittoralError], None] = lambda _error: None,
        chance: Random | None = None,
    ) -> None:
        self._identity = identity
        self._hub = hub
        self._on_renewed = on_renewed
        self._on_denied = on_denied
        self._chance = chance or Random()
        self._asked: asyncio.Event = asyncio.Event()

    def look_now(self) -> None:
        """Somebody could not talk to the hub for reasons of identity: looks at once."""
        self._asked.set()

    async def run(self) -> None:
        """Learns the time, renews when it is due, and again and again."""
        loop = asyncio.get_running_loop()
        again_s, time_due_s = AGAIN_S, loop.time()
        while True:
            wait_s = LOOK_S
            try:
                if loop.time() >= time_due_s:
                    await asyncio.to_thread(converse, learning_time(self._identity), self._hub)
                    time_due_s = loop.time() + TIME_S
                if self._identity.renewal_due:
                    await asyncio.to_thread(converse, renewing(self._identity), self._hub)
                    _LOG.info("Certificate renewed.", until_s=self._identity.until_s)
                    self._on_renewed(self._identity.until_s)
                again_s = AGAIN_S
            except Denied as error:
                _LOG.error("The hub does not renew this site's certificate.", code=error.code, reason=error.message)
                self._on_denied(error)
                wait_s = DENIED_S
            except LittoralError as error:
                _LOG.debug("The hub cannot be asked to renew.", code=error.code, reason=error.message)
                wait_s, again_s = again_s, min(2 * again_s, AGAIN_S_MAX)
            self._asked.clear()
            try:
                async with asyncio.timeout(wait_s * self._chance.uniform(0.5, 1.0)):
                    await self._asked.wait()
                await asyncio.sleep(AGAIN_S * self._chance.uniform(0.5, 1.0))  # however often it is asked for
                time_due_s = loop.time()
            except TimeoutError:
                continue
