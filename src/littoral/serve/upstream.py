"""A server that this site may ask: any that speaks the Open Inference Protocol, over HTTP or gRPC, or either.

Without retries of its own: what to do when a call fails or is late is decided by who asks. A server that takes no
pictures is sent the tensor that the model's task makes of one, and what it answers is read by the same task here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf

from littoral.core.clock import Clock, RealClock
from littoral.core.errors import Conflict, Corrupt, Invalid, LittoralError, NotFound
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Array, Tensor, TensorSpec
from littoral.model.tasks.task import IMAGE, Task
from littoral.monitor.log import log_of
from littoral.monitor.tracing import outgoing
from littoral.serve.client.address import Address, read_upstream
from littoral.serve.client.answer import ModelFacts, ServerFacts
from littoral.serve.client.async_client import async_wire
from littoral.serve.client.client import dialect_of
from littoral.serve.client.http_dialect import HttpDialect
from littoral.serve.client.tls import SYSTEM, ClientTls, check_grpc, http_context
from littoral.serve.client.wire import Ask, AsyncWire, Reply
from littoral.serve.dataplane import BLOCKS
from littoral.serve.fallback import Fallback, Line

_LOG = log_of("serve.upstream")
ANSWER_BYTES_MAX = 64 << 20
PREFERRED_SHARE = 0.5  # of the time for a question: so long an address is asked that could be taken back
BINARY = "binary_tensor_data"
# Of a request to us, and nothing that another server knows; the task here honours what is its own.
OWN_PARAMETERS = frozenset(
    ("deadline_ms", "hops", "top_k", "threshold", "iou", "box_count_max", "max_escalation", "stays")
)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A model on a server that knows no tasks: its signature, and the task as it is made here (None: tensors only)."""

    facts: ModelFacts
    task: Task | None


class Upstream:
    """One server's addresses, connections and what is known of its models; used from one event loop.

    `url` names one address, or several with commas between, in order of preference: the next ones stand in where the
    first brings no answer (`fallback.py`). The first is the upstream's name. `tls` is how an `https` or `grpcs` server
    is known, and how this site shows who it is.
    `foreign` are by name the models that it serves as plain tensors; `digests` are those of models that it must still
    have to count as alive. `knows_blocks`: it takes inferences that begin at a block.
    """

    def __init__(
        self, url: str, *, api_key: str | None = None, tls: ClientTls = SYSTEM, clock: Clock | None = None
    ) -> None:
        addresses = read_upstream(url)
        self.url = addresses[0].url
        self.foreign: dict[str, Foreign] = {}
        self.digests: Mapping[str, str] = {}
        self.knows_blocks = False
        self._api_key = api_key
        self._clock = RealClock() if clock is None else clock
        self._told: set[Line] = set()
        self._ways = Fallback(self.url, _lines(addresses, api_key, tls), clock=self._clock)

    @property
    def addresses(self) -> tuple[tuple[str, bool], ...]:
        """Its addresses that can be used from here, and which of them is in use."""
        return tuple((line.url, line is self._ways.in_use) for line in self._ways.lines)

    @property
    def stands_in(self) -> bool:
        """Whether an address is in use that is not the preferred one."""
        return self._ways.in_use is not self._ways.lines[0]

    async def infer(self, request: InferRequest, *, timeout_s: float) -> InferAnswer:
        """One inference; raises `LittoralError` only."""
        useful_s = inf if request.budget_ms is None else request.budget_ms / 1e3
        until_s = self._clock.monotonic_s() + min(useful_s, timeout_s)
        foreign = self.foreign.get(request.model)
        if foreign is None:
            return await self._infer(request, timeout_s, until_s)
        if foreign.task is not None and len(request.inputs) == 1 and request.inputs[0].name == IMAGE.name:
            return await self._infer_picture(request, foreign.task, foreign.facts, timeout_s=timeout_s, until_s=until_s)
        return await self._infer(_plain(request), timeout_s, until_s)

    async def alive(self, *, timeout_s: float) -> None:
        """Returns if the server says that it is ready, and still has what it had; `timeout_s` is for each question.

        Where the address in use brings no good answer, the others are asked, and the first that does is in use.
        Raises `NotFound` (`upstream_not_ready`), `Conflict` (`digest_differs`).
        """
        await self._ways.first(_ready, self._read_ready, timeout_s=timeout_s)
        for name, digest in self.digests.items():
            facts = await self.facts(name, timeout_s=timeout_s)
            if facts is not None and facts.parameters.get("digest", digest) != digest:
                raise Conflict(
                    "digest_differs", f"Upstream {self.url} has another {name!r} now; it is not asked for it."
                )

    async def introduce(self, *, timeout_s: float) -> None:
        """Asks the server what it speaks: tensors travel as JSON to one that knows no binary data.

        An address that is preferred to the one in use is taken back if it answers.
        """
        await self._ways.prefer(_ready, self._read_ready, timeout_s=PREFERRED_SHARE * timeout_s)
        line, told = await self._ways.first(_server_metadata, _read_server, timeout_s=timeout_s)
        self.knows_blocks = BLOCKS in told.extensions
        self._told.add(line)
        for each in self._ways.lines:
            # Each address has its own way of saying it; one that has not said it yet is taken to be like this one.
            if isinstance(each.dialect, HttpDialect) and (each is line or each not in self._told):
                each.dialect = HttpDialect(api_key=self._api_key, binary=BINARY in told.extensions)

    async def facts(self, model: str, *, timeout_s: float) -> ModelFacts | None:
        """What the server tells of a model; None where it has none of that name."""
        line = self._ways.in_use
        dialect = line.dialect
        more = dialect.model_more(model) if self.knows_blocks else None
        try:
            told = dialect.read_model_metadata(await _asked(line, dialect.model_metadata(model, ""), timeout_s))
            if more is not None:
                said = dialect.read_model_more(await _asked(line, more, timeout_s))
                told = replace(told, parameters={**told.parameters, **said})
        except (NotFound, Invalid):
            return None
        return told

    async def close(self) -> None:
        """Closes the connections."""
        await self._ways.close()

    async def _infer(self, request: InferRequest, timeout_s: float, until_s: float) -> InferAnswer:
        """One inference, sent a second time only before `until_s`."""
        useful_s = until_s - self._clock.monotonic_s()
        line, reply = await self._ways.carry(partial(_inference, request), timeout_s=timeout_s, useful_s=useful_s)
        return line.dialect.read_infer(_answered(line, reply))

    async def _infer_picture(
        self, request: InferRequest, task: Task, facts: ModelFacts, *, timeout_s: float, until_s: float
    ) -> InferAnswer:
        """The picture becomes the tensor here, off the loop, and the answer is read here."""
        prepared = await asyncio.to_thread(task.prepare, request.inputs[0].array.reshape(-1)[0])
        inputs = tuple(
            Tensor(spec.name, spec.datatype, array) for spec, array in zip(facts.inputs, prepared.arrays, strict=True)
        )
        answer = await self._infer(replace(_plain(request), inputs=inputs, outputs=()), timeout_s, until_s)
        arrays = [self._output(answer, spec) for spec in facts.outputs]
        outputs = await asyncio.to_thread(task.finish, arrays, prepared.frame, request.parameters)
        return replace(answer, outputs=outputs)

    def _output(self, answer: InferAnswer, spec: TensorSpec) -> Array:
        """One output as the server's own signature has it."""
        for tensor in answer.outputs:
            if tensor.name == spec.name and tensor.datatype == spec.datatype and spec.accepts(tensor.array.shape):
                return tensor.array
        raise Corrupt(
            "reply_wrong", f"Upstream {self.url} answered without a fitting {spec.name!r}.", upstream=self.url
        )

    def _read_ready(self, line: Line, reply: Reply) -> None:
        if not line.dialect.read_ready(reply):
            raise NotFound("upstream_not_ready", f"Upstream {self.url} is not ready.")


def _lines(addresses: tuple[Address, ...], api_key: str | None, tls: ClientTls) -> list[Line]:
    """What can be used of the addresses; raises what is wrong with the first where none can."""
    lines: list[Line] = []
    failure: LittoralError | None = None
    for address in addresses:
        try:
            if len(addresses) > 1 and address.wire == "grpc" and address.tls:
                check_grpc(tls)
            lines.append(_line(address, api_key, tls))
        except LittoralError as error:
            if address.wire == "http" or len(addresses) == 1:
                raise
            failure = failure or error
            _LOG.warning(f"{address.url} is left out. {error.message}")
    if failure is not None and not lines:
        raise failure
    return lines


def _line(address: Address, api_key: str | None, tls: ClientTls) -> Line:
    """One address; its first wire is made at once, so that what cannot be is known at once."""
    if address.wire == "http" and address.tls:
        tls = ClientTls(context=http_context(tls), server_name=tls.server_name)  # the files are read once

    def opened() -> AsyncWire:
        return async_wire(address, tls, answer_bytes_max=ANSWER_BYTES_MAX)

    return Line(address.url, dialect_of(address, api_key), opened, opened())


def _inference(request: InferRequest, line: Line, gone_s: float) -> Ask:
    """The request as an address takes it, with what is left of its time."""
    if gone_s and request.budget_ms is not None:
        request = replace(request, budget_ms=max(request.budget_ms - gone_s * 1e3, 1.0))
    return _traced(line.dialect.infer(request))


def _ready(line: Line) -> Ask:
    return line.dialect.ready("", "")


def _server_metadata(line: Line) -> Ask:
    return _traced(line.dialect.server_metadata())


def _read_server(line: Line, reply: Reply) -> ServerFacts:
    return line.dialect.read_server_metadata(_answered(line, reply))


async def _asked(line: Line, ask: Ask, timeout_s: float) -> Reply:
    return _answered(line, await line.send(_traced(ask), timeout_s))


def _answered(line: Line, reply: Reply) -> Reply:
    """The reply, if it is no error."""
    error: LittoralError | None = line.dialect.error(reply)
    if error is not None:
        raise error
    return reply


def _traced(ask: Ask) -> Ask:
    traced = outgoing()
    return replace(ask, headers=(*ask.headers, *traced)) if traced else ask


def _plain(request: InferRequest) -> InferRequest:
    """The request without what is ours alone."""
    parameters = {name: value for name, value in request.parameters.items() if name not in OWN_PARAMETERS}
    return replace(request, parameters=parameters, budget_ms=None)
