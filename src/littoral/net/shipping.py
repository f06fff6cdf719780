"""The sender at work: carries out what the core decides, over whatever wire it is handed, until told to stop.

What reads or writes a disk runs in a thread; the core itself runs on the event loop and is quick.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from littoral.core.clock import Clock
from littoral.core.errors import Denied, Invalid, LittoralError, NotFound
from littoral.core.event import Entry
from littoral.monitor.log import log_of
from littoral.net.batch import encode_batch
from littoral.net.gathering import Outbox, gather, shipped
from littoral.net.pacing import Metering
from littoral.net.receiving import Receipt
from littoral.net.sending import Sender
from littoral.net.sending_terms import (
    Acknowledged,
    Diverged,
    Failed,
    Fault,
    Free,
    Log,
    News,
    SetAside,
    Ship,
    StreamTerms,
    Wake,
)
from littoral.store.rules import StreamRule

_LOG = log_of("net.shipping")
IDLE_S = 30.0  # so often it looks though nobody woke it: a link may be metered by the hour
TELEMETRY_LINGER_S = 2.0
UNFIT = ("batch_too_large", "body_too_large", "entry_refused")


class EventWire(Protocol):
    """Whoever carries a batch to the hub and its receipt back; `LittoralError` where it does not."""

    async def send(self, packed: bytes) -> Receipt: ...


def terms_of(rules: Sequence[StreamRule]) -> Mapping[str, StreamTerms]:
    """How streams are sent, from how they are stored. What may not use a metered link is in no hurry either."""
    return {
        rule.name: StreamTerms(
            bytes_per_s=rule.rate_bytes_s_max or float("inf"),
            metered=rule.metered,
            linger_s=TELEMETRY_LINGER_S if rule.name in ("telemetry", "bulk") else 0.0,
        )
        for rule in rules
    }


class Shipping:
    """One site's events on their way to one hub. `run` until cancelled; `notify` whenever something was stored."""

    def __init__(
        self,
        sender: Sender,
        outbox: Outbox,
        wire: EventWire,
        *,
        site: str,
        clock: Clock,
        metering: Metering = Metering(),  # noqa: B008 - frozen
    ) -> None:
        self.sender = sender
        self.metering = metering
        self._outbox, self._wire = outbox, wire
        self._site, self._clock = site, clock
        self._news: deque[News] = deque()
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reported: set[str] = set()
        self._troubles: set[str] = set()

    def notify(self) -> None:
        """Something was stored; may be called from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """Ships until cancelled. What is in flight then is sent again some day; the hub knows its mark."""
        self._loop = asyncio.get_running_loop()
        self._news.clear()  # whoever begins anew has nothing under way
        self._news.extend(Failed(batch, Fault.LOST, reason="begun_anew") for batch in self.sender.under_way)
        try:
            async with asyncio.TaskGroup() as flights:
                while True:
                    self._woken.clear()
                    wake_s = await self._step(self._news.popleft() if self._news else None, flights)
                    if not self._news:
                        await self._wait(wake_s)
        finally:
            self._loop = None

    async def drained(self, *, poll_s: float = 0.05) -> None:
        """Returns when nothing waits in the outbox any more."""
        while self._outbox.logs():
            await asyncio.sleep(poll_s)

    async def _wait(self, wake_s: float) -> None:
        """Until something happens, or it is time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(IDLE_S, wake_s - self._clock.monotonic_s()))):
                await self._woken.wait()

    async def _step(self, news: News | None, flights: asyncio.TaskGroup) -> float:
        """Tells the core and does what it says; when it wants to be asked again."""
        wake_s = float("inf")
        metered = self.metering.at(self._clock.wall_s())
        effects = self.sender.step(news, self._logs(), now_s=self._clock.monotonic_s(), metered=metered)
        for effect in effects:
            if isinstance(effect, Ship):
                flights.create_task(self._ship(effect))
            elif isinstance(effect, Free):
                await asyncio.to_thread(self._outbox.acknowledge, effect.log, effect.sequence)
            elif isinstance(effect, SetAside):
                _LOG.error("The hub will never take an event; it is set aside.", log=effect.log, code=effect.reason)
                await asyncio.to_thread(self._outbox.acknowledge, effect.log, effect.sequence)
            elif isinstance(effect, Diverged):
                _LOG.error(
                    "The hub has more of a log than this store, which was set back. The rest of it is there already.",
                    log=effect.log,
                    at_the_hub=effect.acknowledged,
                    here=effect.last,
                )
                # A store draws its logs anew at each start, so none of these numbers means another event.
                await asyncio.to_thread(self._outbox.acknowledge, effect.log, effect.acknowledged)
            elif isinstance(effect, Wake):
                wake_s = effect.at_s
        return wake_s

    def _logs(self) -> list[Log]:
        """This site's logs. One from before it got another name would be denied, and hold up the others with it."""
        own: list[Log] = []
        for log in self._outbox.logs():
            if log.site == self._site:
                own.append(log)
            elif log.log not in self._reported:
                self._reported.add(log.log)
                _LOG.warning("Events under another name stay where they are.", site=log.site, log=log.log)
        return own

    async def _ship(self, ship: Ship) -> None:
        """One batch, from the disk to the receipt."""
        try:
            entries, packed = await asyncio.to_thread(self._pack, ship)
        except LittoralError as error:
            self._tell_once(error)
            self._tell(shipped(ship, (), 0))
            return
        self._tell(shipped(ship, entries, len(packed)))
        if not entries:
            return
        try:
            receipt = await self._wire.send(packed)
        except LittoralError as error:
            self._tell_once(error)
            after_ms = error.context.get("retry_after_ms")
            retry_ms = float(after_ms) if isinstance(after_ms, int | float) else 0.0
            self._tell(Failed(ship.batch, _fault(error), retry_ms, error.code))
        else:
            self._troubles.clear()
            self._tell(Acknowledged(ship.batch, receipt.acks, receipt.retry_after_ms, receipt.took_ms))

    def _pack(self, ship: Ship) -> tuple[tuple[Entry, ...], bytes]:
        entries = gather(self._outbox, ship, site=self._site, wall_s=self._clock.wall_s())
        return entries, encode_batch(self._site, entries) if entries else b""

    def _tell(self, news: News) -> None:
        self._news.append(news)
        self._woken.set()

    def _tell_once(self, error: LittoralError) -> None:
        """A trouble is told when it begins, not with each attempt."""
        if error.code not in self._troubles and len(self._troubles) < 32:
            self._troubles.add(error.code)
            _LOG.warning("Events wait: a batch did not reach the hub.", code=error.code, why=error.message)


def _fault(error: LittoralError) -> Fault:
    """What the sender makes of it. A batch that the hub cannot read is no fault of one event: nothing is set aside."""
    if isinstance(error, Invalid) and error.code in UNFIT:
        return Fault.UNFIT
    return Fault.DENIED if isinstance(error, Denied | Invalid | NotFound) else Fault.LOST
