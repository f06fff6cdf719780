"""What is desired, followed from a site: one question at a time that waits at the hub until the answer differs.

`DesiredPoll` decides without a wire when to ask; `Following` asks. The latest wins, also where the hub was set back and
its version is smaller than before. A poll that breaks off for all sites at once (a hub restarts) is asked again within
`spread_s`, at any moment of it, so that a thousand sites make no storm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Annotated, Protocol

import msgspec

from littoral.core.clock import Clock
from littoral.core.desired import Desired, Document
from littoral.core.errors import LittoralError, Unavailable
from littoral.monitor.log import log_of
from littoral.net.backoff import Backoff, BackoffLimits

_LOG = log_of("net.desired")
DESIRED_BYTES_MAX = 8 * 2**20
WAIT_S = 50.0  # below the minute after which many proxies end a silent request
EVERY_S_MIN = 1.0  # answers that come at once, again and again, are not asked for faster than this
POLL_BACKOFF = BackoffLimits(first_s=5.0, pause_s_max=60.0, spread_s=10.0)


class _Document(msgspec.Struct):
    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    version: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    body: msgspec.Raw


class _Desired(msgspec.Struct):
    version: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    documents: Annotated[list[_Document], msgspec.Meta(max_length=10_000)]


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Desired)


def encode_desired(desired: Desired) -> bytes:
    """As JSON; each document's body stands in it as it is."""
    documents = [_Document(one.kind, one.name, one.version, msgspec.Raw(one.body)) for one in desired.documents]
    return _ENCODER.encode(_Desired(desired.version, documents))


def decode_desired(answer: bytes) -> Desired:
    """From JSON; `Unavailable` (`answer_unreadable`) for anything else."""
    if len(answer) > DESIRED_BYTES_MAX:
        raise Unavailable("answer_unreadable", f"A desired state of {len(answer)} bytes came. Check the hub's address.")
    try:
        found = _DECODER.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unavailable(
            "answer_unreadable", f"What came is no desired state: {str(error)[:120]}. Check the hub's address."
        ) from error
    documents = tuple(Document(one.kind, one.name, one.version, bytes(one.body)) for one in found.documents)
    return Desired(found.version, documents)


class DesiredWire(Protocol):
    """Whoever can ask the hub."""

    async def ask_desired(self, after: int, wait_s: float) -> Desired | None:
        """What is desired once it differs from `after`, None if it did not within the time; `LittoralError`."""
        ...


@dataclass(slots=True)
class PollCounts:
    """What a poll has seen."""

    asked: int = 0
    changes: int = 0
    failures: int = 0
    set_back: int = 0


@dataclass(slots=True)
class DesiredPoll:
    """When to ask, and for what. `version` is what the site has taken over last."""

    chance: Random
    version: int = 0
    limits: BackoffLimits = POLL_BACKOFF
    counts: PollCounts = field(default_factory=PollCounts)
    _asked_s: float = -inf
    _backoff: Backoff = field(init=False)

    def __post_init__(self) -> None:
        self._backoff = Backoff(self.limits, self.chance)

    def next_s(self) -> float:
        """When to ask next, on the caller's monotonic clock."""
        return max(self._backoff.until_s, self._asked_s + EVERY_S_MIN)

    def asks(self, *, now_s: float) -> None:
        """A question leaves now."""
        self._asked_s = now_s
        self.counts.asked += 1

    def answered(self, found: Desired | None) -> Desired | None:
        """What to apply of an answer: what differs from the version at hand."""
        self._backoff.succeeded()
        if found is None or found.version == self.version:
            return None
        self.counts.changes += 1
        if found.version < self.version:
            self.counts.set_back += 1
        self._asked_s = -inf  # what changed once may have changed again
        return found

    def applied(self, found: Desired) -> None:
        """It was taken over: from now on only what differs from it is of interest."""
        self.version = found.version

    def failed(self, *, now_s: float, retry_after_s: float = 0.0) -> None:
        """No answer came, or it could not be taken over."""
        self.counts.failures += 1
        self._backoff.failed(now_s=now_s, retry_after_s=retry_after_s)


class Following:
    """The poll at work: asks, hands over what is new, and goes on until told to stop."""

    def __init__(
        self,
        poll: DesiredPoll,
        wire: DesiredWire,
        apply: Callable[[Desired], Awaitable[None]],
        *,
        clock: Clock,
        wait_s: float = WAIT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`apply` returns when the state has been taken over (not: when all of it is in force)."""
        self.poll = poll
        self.is_connected = False
        self._wire, self._apply = wire, apply
        self._clock, self._wait_s, self._sleep = clock, wait_s, sleep

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._sleep(max(0.0, self.poll.next_s() - self._clock.monotonic_s()))
            self.poll.asks(now_s=self._clock.monotonic_s())
            try:
                found = self.poll.answered(await self._wire.ask_desired(self.poll.version, self._wait_s))
                if found is not None:
                    await self._apply(found)
                    self.poll.applied(found)
            except LittoralError as error:
                self._missed(error)
                continue
            if not self.is_connected:
                _LOG.info("The hub answers.", version=self.poll.version)
            self.is_connected = True

    def _missed(self, error: LittoralError) -> None:
        after_ms = error.context.get("retry_after_ms")
        retry_s = float(after_ms) / 1e3 if isinstance(after_ms, int | float) else 0.0
        self.poll.failed(now_s=self._clock.monotonic_s(), retry_after_s=retry_s)
        if self.is_connected:
            _LOG.warning("What is desired cannot be asked for; the site goes on as it is.", code=error.code)
        self.is_connected = False
