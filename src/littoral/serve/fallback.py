"""Several addresses of one server, in order of preference: one is in use, and the next stand in where it fails.

A request whose connection fails before an answer goes out once more, over the next address, while there is time and
where no more than one in ten does so; the one that answers is in use from then on. Small questions find out which
addresses work where the one in use is silent, and those before it are asked from time to time and taken back. What the
server itself says, a refusal too, is an answer and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import TypeVar

from littoral.core.clock import Clock
from littoral.core.errors import Expired, LittoralError, Unavailable
from littoral.monitor.log import log_of
from littoral.serve.client.conversation import Dialect
from littoral.serve.client.retry import RetryBudget
from littoral.serve.client.wire import Ask, AsyncWire, Reply

T = TypeVar("T")

_LOG = log_of("serve.fallback")
_NO_ANSWER_CAME = ("server_away", "connection_lost")
_BAD_GATEWAY, _UNAVAILABLE = 502, 503
RESERVE = 10.0  # requests that may be on their way when a connection breaks, and are all sent again
PATIENCE_SHARE = 1 / 3  # of a question's time: then the next address is asked, too
# One that answers small questions and fails with requests must not be taken back again and again.
STEADY_S = 60.0
PAUSE_S, PAUSE_S_MAX = 8.0, 300.0


class Line:
    """One address: how its wire speaks, and its connections, opened when they are needed; used from one event loop."""

    def __init__(
        self, url: str, dialect: Dialect, opened: Callable[[], AsyncWire], wire: AsyncWire | None = None
    ) -> None:
        self.url = url
        self.dialect = dialect
        self._opened = opened
        self._wire = wire
        self._waiting: dict[AsyncWire, int] = {}
        self._taken_back_s = -inf
        self._pause_s = 0.0
        self._not_before_s = -inf

    async def send(self, ask: Ask, timeout_s: float) -> Reply:
        """As an `AsyncWire`."""
        if self._wire is None:
            self._wire = self._opened()
        wire = self._wire
        self._waiting[wire] = self._waiting.get(wire, 0) + 1
        try:
            return await wire.send(ask, timeout_s)
        finally:
            self._waiting[wire] -= 1
            if wire is not self._wire:
                await self._let_go(wire)

    async def renew(self) -> None:
        """Opens new connections with the next question: those there are may lead nowhere, or wait before they try."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await self._let_go(wire)

    async def close(self) -> None:
        """Closes the connections, also those over which an answer is awaited."""
        wires = {*self._waiting, *(() if self._wire is None else (self._wire,))}
        self._wire = None
        for wire in wires:
            await wire.close()

    def taken_back(self, *, now_s: float) -> None:
        """It is in use again."""
        self._taken_back_s = now_s

    def left(self, *, now_s: float) -> None:
        """Another one is in use instead; where that has just been so, it is left alone for a while."""
        steady = now_s - self._taken_back_s >= STEADY_S
        self._pause_s = 0.0 if steady else min(max(PAUSE_S, 2 * self._pause_s), PAUSE_S_MAX)
        self._not_before_s = now_s + self._pause_s

    def worth_asking(self, *, now_s: float) -> bool:
        """Whether it may be asked if it could be taken back."""
        return now_s >= self._not_before_s

    async def _let_go(self, wire: AsyncWire) -> None:
        """Closes what is not used any more once nobody waits for an answer over it."""
        if not self._waiting.get(wire):
            self._waiting.pop(wire, None)
            await wire.close()


class Fallback:
    """The addresses of the server that is known as `name`; used from one event loop."""

    def __init__(self, name: str, lines: Sequence[Line], *, clock: Clock) -> None:
        assert lines, "a server has an address at least"
        self.lines = tuple(lines)
        self._name = name
        self._clock = clock
        self._budget = RetryBudget(reserve=RESERVE)
        self._number = 0
        self._changes = 0

    @property
    def in_use(self) -> Line:
        """What requests go over now."""
        return self.lines[self._number]

    async def carry(
        self, asked: Callable[[Line, float], Ask], *, timeout_s: float, useful_s: float
    ) -> tuple[Line, Reply]:
        """One request, over a second address where the first brings no answer before `useful_s` is over.

        `asked` words it for an address, with the seconds that are gone by then. Raises what a wire raises.
        """
        self._budget.earn()
        began_s, number, changes = self._clock.monotonic_s(), self._number, self._changes
        first = self.lines[number]
        came = await _sent(first, asked(first, 0.0), timeout_s)
        if isinstance(came, Reply):
            return first, came
        other = self._other(number)
        gone_s = self._clock.monotonic_s() - began_s
        try:
            if other is None or gone_s >= min(useful_s, timeout_s) or not self._budget.spend():
                raise came
            second = self.lines[other]
            try:
                reply = await second.send(asked(second, gone_s), timeout_s - gone_s)
            except Expired:
                raise
            except LittoralError:
                raise came from None
            # Refused for the moment over this one as well: then it is the server's word, and not the way's. And what
            # has changed meanwhile was found out later than this.
            if self._changes == changes and not isinstance(second.dialect.error(reply), Unavailable):
                self._use(other, came.message)
            return second, reply
        finally:
            del came  # it holds on to the connection that failed

    async def first(
        self, asked: Callable[[Line], Ask], read: Callable[[Line, Reply], T], *, timeout_s: float
    ) -> tuple[Line, T]:
        """What the first address says that answers well, beginning with the one in use; it is in use from then on.

        Each has `timeout_s`. The next is asked once the one before has failed, or kept silent for a share of that.
        `read` raises `LittoralError` for what is no good answer. Raises what came of the one in use where none is well.
        """
        came = await self._first(asked, read, timeout_s)
        try:
            if isinstance(came, LittoralError):
                raise came
            return came
        finally:
            del came  # an error holds on to the connection that failed

    async def _first(
        self, asked: Callable[[Line], Ask], read: Callable[[Line, Reply], T], timeout_s: float
    ) -> tuple[Line, T] | LittoralError:
        order = [self._number, *(number for number in range(len(self.lines)) if number != self._number)]
        left, failures = list(order), dict[int, LittoralError]()
        asking: dict[asyncio.Task[tuple[T] | LittoralError], int] = {}
        try:
            while left or asking:
                if left:
                    number = left.pop(0)
                    work = _question(self.lines[number], asked, read, timeout_s)
                    asking[asyncio.create_task(work)] = number
                patience_s = PATIENCE_SHARE * timeout_s if left else None
                done, _ = await asyncio.wait(asking, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=lambda one: order.index(asking[one])):
                    number, said = asking.pop(task), task.result()
                    if not isinstance(said, LittoralError):
                        self._use(number, self._why(failures))
                        return self.lines[number], said[0]
                    failures[number] = said
            return failures[order[0]]
        finally:
            await _ended(asking)
            await self._renew({**dict.fromkeys(asking.values()), **failures})

    async def prefer(self, asked: Callable[[Line], Ask], read: Callable[[Line, Reply], T], *, timeout_s: float) -> None:
        """Asks the addresses before the one in use, and takes the first of them back that answers well."""
        for number, line in enumerate(self.lines[: self._number]):
            if not line.worth_asking(now_s=self._clock.monotonic_s()):
                continue
            if isinstance(await _question(line, asked, read, timeout_s), LittoralError):
                await line.renew()
                continue
            if number < self._number:
                self._use(number, "it answers")
            return

    async def close(self) -> None:
        """Closes all connections."""
        for line in self.lines:
            await line.close()

    def _other(self, tried: int) -> int | None:
        """Which address to send a request over that failed over one; None where there is no other."""
        if self._number != tried:  # another request has found out already
            return self._number
        return (tried + 1) % len(self.lines) if len(self.lines) > 1 else None

    def _use(self, number: int, why: str) -> None:
        """Sends over another address from now on, and says so."""
        if number == self._number:
            return
        before, line = self.lines[self._number], self.lines[number]
        back = number < self._number
        self._number = number
        self._changes += 1
        now_s = self._clock.monotonic_s()
        if back:
            line.taken_back(now_s=now_s)
        else:
            before.left(now_s=now_s)
        (_LOG.info if back else _LOG.warning)(
            f"Upstream {self._name} is asked over {line.url} {'again' if back else 'now'}: {why.rstrip('.')}."
        )

    def _why(self, failures: dict[int, LittoralError]) -> str:
        """Why the address in use is left."""
        failure = failures.get(self._number)
        late = failure is None or isinstance(failure, Expired)
        return f"{self.in_use.url} gave no answer in time" if late or failure is None else failure.message

    async def _renew(self, failures: dict[int, LittoralError | None]) -> None:
        """New connections for what failed or was silent; the one in use tries again itself where it is away."""
        for number, failure in failures.items():
            if number != self._number or isinstance(failure, Expired):
                await self.lines[number].renew()


async def _sent(line: Line, ask: Ask, timeout_s: float) -> Reply | LittoralError:
    """The server's answer; or why none came, where another address may bring it."""
    try:
        reply = await line.send(ask, timeout_s)
    except Unavailable as error:
        if error.code not in _NO_ANSWER_CAME:
            raise
        return error
    return (line.dialect.error(reply) if _from_between(reply) else None) or reply


async def _question(
    line: Line, asked: Callable[[Line], Ask], read: Callable[[Line, Reply], T], timeout_s: float
) -> tuple[T] | LittoralError:
    try:
        return (read(line, await line.send(asked(line), timeout_s)),)
    except LittoralError as error:
        return error


async def _ended(asking: Iterable[asyncio.Task[T]]) -> None:
    """Gives up on questions, and waits until they are."""
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


def _from_between(reply: Reply) -> bool:
    """Whether a gateway says that it cannot reach the server: not in the protocol's words, so no answer of it."""
    return reply.status in (_BAD_GATEWAY, _UNAVAILABLE) and not reply.body.lstrip().startswith(b"{")
