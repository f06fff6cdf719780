"""The hub at a broker, for sites that have nothing else: events in, what is desired out, all of it signed.

The broker is believed in nothing: a site's word counts if that site's key signed it and was not revoked, and sites take
only what the hub signed for their last question. Files do not cross a broker.
"""

from __future__ import annotations

import asyncio

from littoral.core.desired import Desired
from littoral.core.errors import Denied, LittoralError
from littoral.fleet.twin import decode_reported
from littoral.hub import desired
from littoral.hub.arrivals import BATCH_LIMITS, take_batch
from littoral.hub.attendance import Standing
from littoral.hub.own_identity import OwnIdentity
from littoral.hub.parts import Parts
from littoral.net.batch import Batch
from littoral.net.mqtt_flows import HubMqtt
from littoral.net.mqtt_session import Broker
from littoral.net.receiving import Receipt

LOOK_S = 5.0


class MqttGate:
    """One broker's; `start` needs no broker, `close` leaves it."""

    def __init__(self, parts: Parts, identity: OwnIdentity, broker: Broker, *, name: str) -> None:
        self._parts = parts
        self._told: dict[str, int] = {}  # the version that each asking site was told last
        self._refusals: set[asyncio.Task[None]] = set()
        self._telling: asyncio.Task[None] | None = None
        self._flows = HubMqtt(
            broker,
            self,
            name=f"hub-{name}",
            batch_limits=BATCH_LIMITS,
            letters=identity.letters(parts.attendance),
            on_refused=self._refused,
        )

    async def start(self) -> None:
        """Begins to connect, and goes on trying."""
        await self._flows.start()
        self._telling = asyncio.get_running_loop().create_task(self._tell_again_and_again())

    async def close(self) -> None:
        """Leaves the broker, which keeps what comes meanwhile."""
        tasks = [*self._refusals, *([self._telling] if self._telling is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._flows.close()

    # What `HubMqtt` does with what comes

    async def take(self, site: str, batch: Batch) -> Receipt:
        """A batch, as over HTTPS."""
        self._standing(site)
        return await take_batch(self._parts, batch, site)

    async def desired(self, site: str) -> Desired:
        """What is desired of a site now."""
        standing = self._standing(site)
        await self._parts.attendance.heard(site)
        self._told[site] = standing.desired_version
        return await self._parts.database.read(lambda connection: desired.desired(connection, site))

    async def reported(self, site: str, document: bytes) -> None:
        """A site's word about itself."""
        self._standing(site)
        await self._parts.attendance.reported(site, decode_reported(document))

    def _standing(self, site: str) -> Standing:
        standing = self._parts.attendance.standing(site)
        if standing is None or standing.revoked_s is not None:
            raise Denied("site_foreign", f"{site} is no site of this hub. Join with a token: littoral token new")
        return standing

    async def _tell_again_and_again(self) -> None:
        """Tells each site that asked once there is something else to live by."""
        parts = self._parts
        while True:
            await parts.desired_fresh.after(parts.desired_fresh.count, timeout_s=LOOK_S)
            for site, version in list(self._told.items()):
                standing = parts.attendance.standing(site)
                if standing is not None and standing.desired_version != version:
                    await self._flows.announce(site)

    def _refused(self, site: str, error: LittoralError) -> None:
        told = self._parts.chronicle.refusal("letter_refused", site=site, code=error.code)
        task = asyncio.get_running_loop().create_task(told)
        self._refusals.add(task)
        task.add_done_callback(self._refusals.discard)
