"""Events and the desired state over a real Mosquitto that is killed, forgets, and delivers twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contract.broker import Mosquitto, device, mosquitto
from littoral.core.clock import RealClock
from littoral.core.desired import Desired, Document
from littoral.core.errors import Denied, Overloaded
from littoral.core.event import Entry, Event
from littoral.net.backoff import BackoffLimits
from littoral.net.batch import Batch, encode_batch
from littoral.net.desired import DesiredPoll, Following
from littoral.net.mqtt_flows import ROOT, HubMqtt, SiteMqtt
from littoral.net.mqtt_session import Broker
from littoral.net.receiving import Receipt, weigh
from littoral.net.sending import Sender
from littoral.net.shipping import Shipping, terms_of
from littoral.store.outbox import Outbox
from littoral.store.rules import STREAMS

SECONDS_MAX = 60.0
SITE = "press-7"


class Taken:
    """A hub's memory; it outlives the hub's end of the wire."""

    def __init__(self) -> None:
        self.marks: dict[str, int] = {}
        self.applied: list[Entry] = []
        self.wanted = Desired(0, ())
        self.reports: list[bytes] = []
        self.batches = 0
        self.busy = False

    async def take(self, site: str, batch: Batch) -> Receipt:
        self.batches += 1
        if self.busy:
            raise Overloaded("hub_busy", "Too much at once.", retry_after_ms=50)
        verdict = weigh(batch, self.marks)
        self.marks.update(verdict.acks)
        self.applied += verdict.fresh
        return Receipt(acks=dict(verdict.acks))

    async def desired(self, site: str) -> Desired:
        return self.wanted

    async def reported(self, site: str, document: bytes) -> None:
        self.reports.append(document)

    def numbers(self) -> list[int]:
        return [entry.sequence for entry in self.applied]


@asynccontextmanager
async def _hub(broker: Mosquitto, taken: Taken) -> AsyncIterator[HubMqtt]:
    hub = HubMqtt(Broker.parse(broker.url), taken)
    await hub.start()
    try:
        await _until(hub.session.connected.is_set)
        yield hub
    finally:
        await hub.close()


@asynccontextmanager
async def _site(broker: Mosquitto, *, receipt_s_max: float = 3.0) -> AsyncIterator[SiteMqtt]:
    site = SiteMqtt(Broker.parse(broker.url), site=SITE, receipt_s_max=receipt_s_max)
    await site.start()
    try:
        await _until(site.session.connected.is_set)
        yield site
    finally:
        await site.close()


@asynccontextmanager
async def _shipping(outbox: Outbox, site: SiteMqtt) -> AsyncIterator[Shipping]:
    sender = Sender(random.Random(1), terms=terms_of(STREAMS), backoff=BackoffLimits(first_s=0.1, pause_s_max=0.5))
    shipping = Shipping(sender, outbox, site, site=SITE, clock=RealClock())
    quiet = outbox.listen(shipping.notify)
    running = asyncio.ensure_future(shipping.run())
    try:
        yield shipping
    finally:
        quiet()
        running.cancel()
        [end] = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(end, asyncio.CancelledError), end


async def _until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not there():
            await asyncio.sleep(0.01)


def _run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), SECONDS_MAX))


def _batch(site: str, *sequences: int) -> bytes:
    return encode_batch(site, [Event(site, "log-a", n, "result", "k", 0.0, b"{}") for n in sequences])


def test_events_take_effect_once_and_in_order_though_the_broker_is_killed_and_loses_what_it_acknowledged(
    tmp_path: Path,
) -> None:
    # given a site that ships to a hub over a broker
    taken = Taken()

    async def work() -> None:
        with mosquitto(tmp_path / "broker") as broker, Outbox(tmp_path / "outbox", site=SITE) as outbox:
            async with _hub(broker, taken), _site(broker) as site, _shipping(outbox, site) as shipping:
                for round_ in range(4):
                    for number in range(50):
                        await outbox.put_async("result", "inference", b'{"n": %d}' % number)

                    # when the broker is killed again and again, and comes back without its memory
                    if round_ < 3:
                        await asyncio.to_thread(broker.kill)
                        (broker.folder / "mosquitto.db").unlink(missing_ok=True)
                        await asyncio.to_thread(broker.start)
                await shipping.drained()

    _run(work)

    # then nothing is lost and nothing came twice
    assert taken.numbers() == list(range(1, 201))


def test_what_was_sent_while_the_hub_is_away_waits_and_only_the_hub_frees_it(tmp_path: Path) -> None:
    # given a broker that knows the hub's session, and no hub
    taken = Taken()

    async def work() -> None:
        with mosquitto(tmp_path / "broker") as broker, Outbox(tmp_path / "outbox", site=SITE) as outbox:
            async with _hub(broker, taken):
                pass
            async with _site(broker, receipt_s_max=0.5) as site, _shipping(outbox, site) as shipping:
                # when events are put and taken by the broker
                outbox.put_many([("audit", "login", b"%d" % number) for number in range(20)])
                await _until(lambda: shipping.sender.counts.failures.get("hub_silent", 0) >= 2)

                # then the outbox still has all of them, until the hub comes back
                assert outbox.logs()[0].last - outbox.logs()[0].first == 19
                async with _hub(broker, taken):
                    await shipping.drained()

    _run(work)
    assert taken.numbers() == list(range(1, 21))


def test_a_batch_that_is_delivered_twice_takes_effect_once(tmp_path: Path) -> None:
    # given a hub on a broker
    taken = Taken()

    async def work() -> None:
        with mosquitto(tmp_path / "broker") as broker:
            async with _hub(broker, taken):
                # when one batch is published three times, and rubbish in between
                def publish() -> None:
                    with device(broker) as other:
                        for payload in (_batch(SITE, 1, 2), b"rubbish", _batch(SITE, 1, 2), _batch(SITE, 2, 3)):
                            other.publish(f"{ROOT}/{SITE}/events", payload)

                await asyncio.to_thread(publish)
                await _until(lambda: taken.batches == 3)

    _run(work)

    # then each event took effect once
    assert taken.numbers() == [1, 2, 3]


def test_a_batch_in_another_site_s_name_and_a_hub_that_is_busy_are_told_as_what_they_are(tmp_path: Path) -> None:
    taken = Taken()

    async def work() -> None:
        with mosquitto(tmp_path / "broker") as broker:
            async with _hub(broker, taken), _site(broker) as site:
                # given a batch that names another site, when it is sent, then it is denied
                with pytest.raises(Denied) as denied:
                    await site.send(_batch("press-8", 1))
                assert denied.value.code == "site_other"

                # given a hub that has no room, when a batch is sent, then the site knows when to come again
                taken.busy = True
                with pytest.raises(Overloaded) as busy:
                    await site.send(_batch(SITE, 1))
                assert busy.value.context["retry_after_ms"] == 50

    _run(work)
    assert taken.applied == []


def test_what_is_desired_is_pushed_and_asked_for_and_reports_arrive(tmp_path: Path) -> None:
    # given a site that follows a hub over a broker
    taken, seen = Taken(), []

    async def apply(desired: Desired) -> None:
        seen.append(desired)

    async def work() -> None:
        with mosquitto(tmp_path / "broker") as broker:
            async with _hub(broker, taken) as hub, _site(broker) as site:
                poll = DesiredPoll(random.Random(1), limits=BackoffLimits(first_s=0.1, pause_s_max=0.5))
                running = asyncio.ensure_future(Following(poll, site, apply, clock=RealClock(), wait_s=2.0).run())
                await _until(lambda: poll.counts.asked > 0)

                # when something is desired and told, and then something else while the broker forgets
                taken.wanted = Desired(1, (Document("model", "inspect", 1, b"{}"),))
                await hub.announce(SITE)
                await _until(lambda: len(seen) == 1)
                await asyncio.to_thread(broker.kill)
                (broker.folder / "mosquitto.db").unlink(missing_ok=True)
                taken.wanted = Desired(2, ())
                await asyncio.to_thread(broker.start)

                # then the site learns of both, and its report reaches the hub
                await _until(lambda: len(seen) == 2)
                await _until(lambda: site.session.connected.is_set() and hub.session.connected.is_set())
                await site.report(b'{"serving": 2}')
                await _until(lambda: taken.reports == [b'{"serving": 2}'])
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    _run(work)
    assert [one.version for one in seen] == [1, 2]
