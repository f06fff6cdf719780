"""Late answers: an upstream's answer that came after its request had been answered here, for those who want it still.

A correction carries the request's id. Each subscriber has a bounded queue; one that does not read loses the oldest, and
the loss is counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from littoral.core.errors import Overloaded
from littoral.core.request import InferAnswer
from littoral.monitor.log import log_of

_LOG = log_of("runtime.corrections")
WAITING_MAX = 256
SUBSCRIPTIONS_MAX = 64


class Subscription:
    """One reader's queue, read on the runtime's loop."""

    def __init__(self) -> None:
        self._waiting: deque[InferAnswer] = deque()
        self._news = asyncio.Event()
        self.lost = 0

    def put(self, answer: InferAnswer) -> None:
        """One more; the oldest goes where there is no room."""
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(answer)
        self._news.set()

    async def next(self, timeout_s: float | None = None) -> InferAnswer | None:
        """The oldest that waits, or the next to come; None where none came in time."""
        if not self._waiting:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._news.wait()
        return self._waiting.popleft() if self._waiting else None


class Corrections:
    """Hands late answers to whoever listens; owned by the runtime's loop."""

    def __init__(self) -> None:
        self.count = 0
        self._subscriptions: set[Subscription] = set()
        self._listeners: list[Callable[[InferAnswer], None]] = []

    def publish(self, answer: InferAnswer) -> None:
        """One late answer, to every listener and subscriber."""
        self.count += 1
        for listener in self._listeners:
            try:
                listener(answer)
            except Exception as error:  # noqa: BLE001 - a caller's own function; the others still want to hear
                _LOG.warning("A listener to corrections failed.", reason=repr(error)[:300])
        for subscription in self._subscriptions:
            subscription.put(answer)

    def listen(self, listener: Callable[[InferAnswer], None]) -> None:
        """Calls `listener` with each late answer from now on; it must return at once."""
        self._listeners.append(listener)

    def check_room(self) -> None:
        """`Overloaded` (`listeners_full`) where nobody more can subscribe."""
        if len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            raise Overloaded("listeners_full", f"{SUBSCRIPTIONS_MAX} listen already. End one, or read another's copy.")

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """A queue of late answers for as long as the block lasts."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
