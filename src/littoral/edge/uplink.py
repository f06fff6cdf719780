"""Everything between a site and its hub: events up, what is desired down, reports, files, and the certificate.

Each flow has a task of its own and waits for none of the others; all of them may fail for a year. Connections go
outward only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from littoral.core.clock import Clock
from littoral.core.errors import Denied, LittoralError, Plain, Unavailable
from littoral.edge.blob_source import FetchedBlobs
from littoral.edge.broker_way import BrokerWay
from littoral.edge.membership import Joined
from littoral.edge.renewing import Renewing
from littoral.fleet.agent import Agent
from littoral.fleet.twin import encode_reported
from littoral.monitor.log import log_of
from littoral.monitor.meters import Family
from littoral.net.backoff import Backoff, BackoffLimits
from littoral.net.desired import DesiredPoll, Following
from littoral.net.flow_meters import families as flow_families
from littoral.net.http import HubHttp
from littoral.net.mqtt_session import Broker
from littoral.net.pacing import Metering
from littoral.net.receiving import Receipt
from littoral.net.resume import Transfers
from littoral.net.sending import Sender
from littoral.net.sending_terms import SendingCounts
from littoral.net.shipping import Shipping, terms_of
from littoral.store.blobs import Blobs
from littoral.store.outbox import Outbox
from littoral.store.rules import STREAMS, Tally

_LOG = log_of("edge.uplink")
REPORT_GAP_S = 0.25
LOOK_AFTER = 2  # failed reports
_SITE = ("site",)
REPORT_BACKOFF = BackoffLimits(first_s=1.0, pause_s_max=30.0, spread_s=5.0)

Tell = Callable[[str, Mapping[str, Plain]], None]
"""Records something as an audit event: its kind and plain facts."""


class Uplink:
    """One site's; `start` needs no hub and returns at once."""

    def __init__(
        self,
        joined: Joined,
        outbox: Outbox,
        blobs: Blobs,
        *,
        hub: str,
        clock: Clock,
        report_every_s: float,
        metering: Metering,
        tell: Tell,
        broker: Broker | None = None,
    ) -> None:
        """With a `broker` that is the way to the hub, for all but the certificate, which is renewed when it can be."""
        chance = Random()
        self._clock = clock
        self._tell = tell
        self._site = joined.membership.site
        self._outbox = outbox
        self.report_every_s = report_every_s
        self._hub: HubHttp | BrokerWay = (
            HubHttp(hub, tls=joined.identity.client_context())
            if broker is None
            else BrokerWay(broker, joined.identity, site=joined.membership.site)
        )
        self._shipping = Shipping(
            Sender(chance, terms=terms_of(STREAMS)),
            outbox,
            _Batches(self._hub),
            site=self._site,
            clock=clock,
            metering=metering,
        )
        self._transfers = Transfers(self._hub, clock=clock, chance=chance)
        self.blobs = FetchedBlobs(blobs, self._transfers)
        self._reports = Backoff(REPORT_BACKOFF, chance)
        self._reported_s = 0.0
        self._following: Following | None = None
        self._renewing = Renewing(
            joined.identity,
            hub,
            on_renewed=self._renewed,
            on_denied=lambda error: tell("renewal_refused", {"code": error.code}),
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_listening: Callable[[], None] = lambda: None

    @property
    def connected(self) -> bool:
        """Whether the hub answered the last report."""
        return self._reported_s > 0 and self._reports.failures == 0

    def meter(self, metering: Metering) -> None:
        """What the link costs from now on."""
        self._shipping.metering = metering
        self._shipping.notify()

    async def start(self, agent: Agent) -> None:
        """Begins every flow; the agent's memory says from which version on something is new."""
        self._following = Following(
            DesiredPoll(Random(), version=agent.desired_version), self._hub, agent.desire, clock=self._clock
        )
        if isinstance(self._hub, BrokerWay):
            await self._hub.start()
        self._stop_listening = self._outbox.listen(self._shipping.notify)
        self._begin("events", self._shipping.run)
        self._begin("desired", self._following.run)
        self._begin("reports", lambda: self._report(agent))
        self._begin("identity", self._renewing.run)

    async def close(self) -> None:
        """Ends every flow; what is on its way is sent again some day."""
        self._stop_listening()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._hub.close()

    def families(self) -> Iterator[Family]:
        """What the flows count, for whoever scrapes."""
        waiting: dict[str, int] = {}
        for state in self._outbox.logs():
            waiting[state.stream] = waiting.get(state.stream, 0) + state.bytes
        counts = self._shipping.sender.counts
        yield from families(self._site, counts, waiting, self._outbox.tallies(), connected=self.connected)
        if self._following is not None:
            yield from flow_families(
                self._site,
                sender=self._shipping.sender,
                polls=self._following.poll.counts,
                desired_version=self._following.poll.version,
                blobs=self._transfers.total,
                now_s=self._clock.monotonic_s(),
            )

    async def _report(self, agent: Agent) -> None:
        """Says how the site is: at once where that changes, and else so often that the hub knows it is there."""
        while True:
            agent.news.clear()
            now_s = self._clock.monotonic_s()
            try:
                await self._hub.report(encode_reported(agent.reported()))
            except LittoralError as error:
                if not self._reports.failures:
                    _LOG.warning("The hub does not hear this site; it goes on as it is.", code=error.code)
                self._reports.failed(now_s=now_s)
                if isinstance(error, Denied) or self._reports.failures > LOOK_AFTER:
                    self._renewing.look_now()  # perhaps the certificate has ended, and this machine slept through it
                await asyncio.sleep(max(0.0, self._reports.until_s - self._clock.monotonic_s()))
                continue
            if self._reports.failures or not self._reported_s:
                _LOG.info("The hub hears this site.")
            self._reports.succeeded()
            self._reported_s = now_s
            await asyncio.sleep(REPORT_GAP_S)
            try:
                async with asyncio.timeout(max(0.0, self.report_every_s - REPORT_GAP_S)):
                    await agent.news.wait()
            except TimeoutError:
                continue

    def _renewed(self, until_s: float) -> None:
        self._tell("certificate_renewed", {"until_s": until_s})
        self._tasks.append(asyncio.get_running_loop().create_task(self._hub.renew()))

    def _begin(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(_for_ever(name, run)))


class _Batches:
    """The hub for the sender: whatever goes wrong is an error of ours, so that no batch is ever under way for good."""

    def __init__(self, hub: HubHttp | BrokerWay) -> None:
        self._hub = hub

    async def send(self, packed: bytes) -> Receipt:
        """A batch up, its receipt back."""
        try:
            return await self._hub.send(packed)
        except LittoralError:
            raise
        except Exception as error:
            _LOG.error("A batch was not sent by our own fault; it is sent again.", fault=repr(error)[:300])
            raise Unavailable("connection_lost", f"A batch was not sent: {error!r}.") from error


async def _for_ever(name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A flow that ends by a fault of ours is begun again: the others, and the site, depend on none."""
    while True:
        try:
            await run()
        except LittoralError as error:
            _LOG.error("A flow stopped; it is begun again.", flow=name, code=error.code, reason=error.message)
        except Exception as error:  # noqa: BLE001 - a site in the field has nobody who would start it again
            _LOG.error("A flow failed by our own fault; it is begun again.", flow=name, fault=repr(error)[:300])
        await asyncio.sleep(5.0)


def families(
    site: str, sent: SendingCounts, waiting_bytes: Mapping[str, int], lost: Sequence[Tally], *, connected: bool
) -> Iterator[Family]:
    """Every metric about the way to the hub."""
    yield Family("hub_connected", "1 while the hub answers reports, else 0.", _SITE, [((site,), float(connected))])
    yield Family("events_sent", "Events that went up, repeats included.", _SITE, [((site,), sent.entries)], counts=True)
    size = [((site,), sent.wire_bytes)]
    yield Family("events_sent_bytes", "Bytes of the batches that went up.", _SITE, size, counts=True)
    failed = [((reason,), many) for reason, many in sent.failures.items()]
    yield Family("event_batches_failed", "Batches that the hub did not take.", ("reason",), failed, counts=True)
    waiting = [((stream,), float(size)) for stream, size in sorted(waiting_bytes.items())]
    yield Family("outbox_bytes", "What waits to go up.", ("stream",), waiting)
    dropped = [((it.stream, it.reason), it.count) for it in lost]
    yield Family("events_dropped", "Events that were given up.", ("stream", "reason"), dropped, counts=True)
