"""Every verb of the client without a wire and without waiting: which messages go out, and what is made of the replies.

A verb is a generator. It yields `Send` (and is given the reply, or the error that sending ended in) or `Pause`, and
returns its result. So threads and asyncio share deadlines, retries and meaning, and differ in ten lines.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy.typing as npt

from littoral.core.clock import Clock
from littoral.core.errors import Expired, Invalid, LittoralError
from littoral.core.request import NO_PARAMETERS, InferAnswer, InferRequest, Parameters
from littoral.core.tensor import Tensor, bytes_array
from littoral.model.repository import IndexEntry
from littoral.serve.client.answer import Answer, ModelFacts, Prediction, ServerFacts, answer_of, prediction_of
from littoral.serve.client.retry import RetryPolicy
from littoral.serve.client.route import TRIAL_S_MAX, Route
from littoral.serve.client.wire import Ask, Reply

T = TypeVar("T")

WAY_BACK_MS_MIN, WAY_BACK_MS_MAX = 3.0, 20.0
WAY_BACK_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Send:
    """Send this to one of the servers, by its place in the list, and wait so long for the reply."""

    ask: Ask
    timeout_s: float
    target: int = 0


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, then go on."""

    seconds: float


Talk = Generator[Send | Pause, Reply | None, T]
Heard = tuple["Dialect", Reply]
"""A reply, and the dialect it is in."""


class Dialect(Protocol):
    """How one wire says things. `error` gives None for a reply that is an answer."""

    def error(self, reply: Reply) -> LittoralError | None: ...

    def infer(self, request: InferRequest) -> Ask: ...

    def read_infer(self, reply: Reply) -> InferAnswer: ...

    def index(self) -> Ask: ...

    def read_index(self, reply: Reply) -> tuple[IndexEntry, ...]: ...

    def server_metadata(self) -> Ask: ...

    def read_server_metadata(self, reply: Reply) -> ServerFacts: ...

    def model_metadata(self, model: str, version: str) -> Ask: ...

    def read_model_metadata(self, reply: Reply) -> ModelFacts: ...

    def model_more(self, model: str) -> Ask | None:
        """What asks for the parameters that the wire's metadata has no place for; None where it has."""
        ...

    def read_model_more(self, reply: Reply) -> dict[str, str]: ...

    def ready(self, model: str, version: str) -> Ask: ...

    def read_ready(self, reply: Reply) -> bool:
        """Whether the server said yes; it raises what is neither yes nor no."""
        ...

    def load(self, model: str) -> Ask: ...

    def unload(self, model: str) -> Ask: ...


class Conversation:
    """The verbs, with one server or several that stand in for each other.

    It holds nothing that changes but the retry budget and the route, so any number of calls may run at once.
    """

    def __init__(
        self, dialects: Sequence[Dialect], policy: RetryPolicy, route: Route, clock: Clock, *, timeout_s: float
    ) -> None:
        assert len(dialects) == route.count, "each server has its dialect"
        self._dialects = tuple(dialects)
        self._policy = policy
        self._route = route
        self._clock = clock
        self._timeout_s = timeout_s

    def infer(
        self,
        model: str,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        outputs: Sequence[str] = (),
        parameters: Parameters | None = None,
        deadline_ms: float | None = None,
        version: str = "",
        request_id: str = "",
    ) -> Talk[Answer]:
        """One inference with named arrays."""
        tensors = tuple(Tensor.of(name, array) for name, array in inputs.items())
        request = _request(model, tensors, parameters, version=version, request_id=request_id, outputs=outputs)
        return answer_of((yield from self._infer(request, deadline_ms)))

    def predict(
        self,
        model: str,
        image: bytes,
        *,
        parameters: Parameters | None = None,
        deadline_ms: float | None = None,
        version: str = "",
        request_id: str = "",
    ) -> Talk[Prediction]:
        """One encoded picture through a model with an image task."""
        tensor = Tensor("image", "BYTES", bytes_array([image]))
        started_s = self._clock.monotonic_s()
        request = _request(model, (tensor,), parameters, version=version, request_id=request_id)
        given = yield from self._infer(request, deadline_ms)
        return prediction_of(given, latency_ms=(self._clock.monotonic_s() - started_s) * 1e3)

    def models(self) -> Talk[tuple[IndexEntry, ...]]:
        """The repository's index."""
        dialect, reply = yield from self._exchange(lambda dialect: dialect.index())
        return dialect.read_index(reply)

    def server(self) -> Talk[ServerFacts]:
        """Who answers."""
        dialect, reply = yield from self._exchange(lambda dialect: dialect.server_metadata())
        return dialect.read_server_metadata(reply)

    def metadata(self, model: str, *, version: str = "") -> Talk[ModelFacts]:
        """A model's signature."""
        dialect, reply = yield from self._exchange(lambda dialect: dialect.model_metadata(model, version))
        return dialect.read_model_metadata(reply)

    def ready(self, model: str = "", *, version: str = "") -> Talk[bool]:
        """Whether a server, or the model there, would answer now; False also where nobody does. Never tried twice."""
        for target in range(len(self._dialects)):
            if (yield from self._ready(target, model, version, self._timeout_s)):
                return True
        return False

    def load(self, model: str) -> Talk[None]:
        """Loads a model, or its newest version, on the first server; loading twice is loading once."""
        yield from self._exchange(lambda dialect: dialect.load(model), first_only=True)

    def unload(self, model: str) -> Talk[None]:
        """Takes a model out of service on the first server; doing so twice is doing so once."""
        yield from self._exchange(lambda dialect: dialect.unload(model), first_only=True)

    def _infer(self, request: InferRequest, deadline_ms: float | None) -> Talk[InferAnswer]:
        if deadline_ms is not None and not deadline_ms > 0:
            raise Invalid("parameter_wrong", "`deadline_ms` must be above zero.")
        dialect, reply = yield from self._repeat(
            lambda dialect, left_ms: dialect.infer(_with_budget(request, left_ms)), deadline_ms
        )
        return dialect.read_infer(reply)

    def _exchange(self, ask: Callable[[Dialect], Ask], *, first_only: bool = False) -> Talk[Heard]:
        return (yield from self._repeat(lambda dialect, _left_ms: ask(dialect), None, first_only=first_only))

    def _repeat(
        self, ask: Callable[[Dialect, float | None], Ask], deadline_ms: float | None, *, first_only: bool = False
    ) -> Talk[Heard]:
        """Sends until there is an answer, an error that lasts, no time, no server or no retry left.

        `ask` is given the milliseconds that are left of the caller's deadline, or None where the caller named none.
        """
        whole_ms = self._timeout_s * 1e3 if deadline_ms is None else min(self._timeout_s * 1e3, deadline_ms)
        until_s = self._clock.monotonic_s() + whole_ms / 1e3
        self._policy.begin()
        retries = 0
        while True:
            try:
                return (yield from self._round(ask, until_s, named=deadline_ms is not None, first_only=first_only))
            except LittoralError as error:
                failure = error
            left_ms = (until_s - self._clock.monotonic_s()) * 1e3
            wait_ms = self._policy.wait_ms(failure, retries_done=retries, left_ms=left_ms)
            if wait_ms is None:
                raise failure
            retries += 1
            yield Pause(wait_ms / 1e3)

    def _round(
        self, ask: Callable[[Dialect, float | None], Ask], until_s: float, *, named: bool, first_only: bool
    ) -> Talk[Heard]:
        """Asks one server after the other, each once, until one answers; raises what the first one said."""
        tried: list[int] = []
        first: LittoralError | None = None
        while True:
            target = self._route.choose(tried) if not first_only else 0 if not tried else None
            if target is None:
                assert first is not None, "there is a server to try"
                raise first
            if not tried and not first_only:
                target = yield from self._try_preferred(target, until_s)
            tried.append(target)
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0:
                raise first or Expired("answer_late", "The time given was over before an answer came. Give more.")
            others = not first_only and len(tried) < self._route.count
            try:
                return (yield from self._ask(target, ask, left_s, named=named, others=others))
            except LittoralError as error:
                first = first or error
                if not self._route.failed(target, error, now_s=self._clock.monotonic_s()):
                    raise

    def _ask(
        self,
        target: int,
        ask: Callable[[Dialect, float | None], Ask],
        left_s: float,
        *,
        named: bool,
        others: bool,
    ) -> Talk[Heard]:
        """One question to one server; raises what it refuses with."""
        started_s = self._clock.monotonic_s()
        dialect = self._dialects[target]
        patience_s = self._route.patience_s(target, left_s, others=others)
        reply = yield Send(ask(dialect, left_s * 1e3 if named else None), patience_s, target)
        assert reply is not None, "a Send is answered with a reply"
        error = dialect.error(reply)
        if error is not None:
            raise error
        now_s = self._clock.monotonic_s()
        self._route.answered(target, now_s - started_s, now_s=now_s)
        return dialect, reply

    def _try_preferred(self, chosen: int, until_s: float) -> Talk[int]:
        """The server to ask: a preferred one that was away, if it is time to look and it is well again."""
        now_s = self._clock.monotonic_s()
        due = self._route.due(chosen, now_s=now_s)
        if due is None:
            return chosen
        timeout_s = min(TRIAL_S_MAX, max((until_s - now_s) / 4, 0.001))
        well = False
        try:
            well = yield from self._ready(due, "", "", timeout_s)
        finally:
            self._route.passed_trial(due, well=well, now_s=self._clock.monotonic_s())
        return due if well else chosen

    def _ready(self, target: int, model: str, version: str, timeout_s: float) -> Talk[bool]:
        dialect = self._dialects[target]
        try:
            reply = yield Send(dialect.ready(model, version), timeout_s, target)
        except LittoralError as error:
            if error.code in ("server_away", "connection_lost", "answer_late"):
                return False
            raise
        assert reply is not None, "a Send is answered with a reply"
        return dialect.read_ready(reply)


def _request(
    model: str,
    tensors: tuple[Tensor, ...],
    parameters: Parameters | None,
    *,
    version: str,
    request_id: str,
    outputs: Sequence[str] = (),
) -> InferRequest:
    """A request whose id stays the same over retries, so that whoever reads the server's story sees one request."""
    return InferRequest(
        model,
        tensors,
        version=version,
        id=request_id or uuid.uuid4().hex,
        outputs=tuple(outputs),
        parameters=NO_PARAMETERS if parameters is None else parameters,
    )


def _with_budget(request: InferRequest, left_ms: float | None) -> InferRequest:
    """The server is told a little less than is left: an answer made at the last moment still has to come back."""
    if left_ms is None:
        return request
    way_back_ms = min(max(WAY_BACK_MS_MIN, WAY_BACK_SHARE * left_ms), WAY_BACK_MS_MAX, left_ms / 2)
    return replace(request, budget_ms=round(left_ms - way_back_ms, 3))
