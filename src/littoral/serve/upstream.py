"""A server that this site may ask: any that speaks the Open Inference Protocol, over HTTP or gRPC.

Without retries of its own: what to do when a call fails or is late is decided by who asks. A server that takes no
pictures is sent the tensor that the model's task makes of one, and what it answers is read by the same task here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from littoral.core.errors import Conflict, Corrupt, Invalid, LittoralError, NotFound
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Array, Tensor, TensorSpec
from littoral.model.tasks.task import IMAGE, Task
from littoral.monitor.tracing import outgoing
from littoral.serve.client.address import read_address
from littoral.serve.client.answer import ModelFacts
from littoral.serve.client.async_client import async_wire
from littoral.serve.client.client import dialect_of
from littoral.serve.client.http_dialect import HttpDialect
from littoral.serve.client.tls import SYSTEM, ClientTls
from littoral.serve.client.wire import Ask, Reply
from littoral.serve.dataplane import BLOCKS

ANSWER_BYTES_MAX = 64 << 20
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
    """One server's address, connections and what is known of its models; used from one event loop.

    `tls` is how an `https` or `grpcs` server is known, and how this site shows who it is.
    `foreign` are by name the models that it serves as plain tensors; `digests` are those of models that it must still
    have to count as alive. `knows_blocks`: it takes inferences that begin at a block.
    """

    def __init__(self, url: str, *, api_key: str | None = None, tls: ClientTls = SYSTEM) -> None:
        address = read_address(url)
        self.url = address.url
        self.foreign: dict[str, Foreign] = {}
        self.digests: Mapping[str, str] = {}
        self.knows_blocks = False
        self._api_key = api_key
        self._http = address.wire == "http"
        self._wire = async_wire(address, tls, answer_bytes_max=ANSWER_BYTES_MAX)
        self._dialect = dialect_of(address, api_key)

    async def infer(self, request: InferRequest, *, timeout_s: float) -> InferAnswer:
        """One inference; raises `LittoralError` only."""
        foreign = self.foreign.get(request.model)
        if foreign is None:
            return await self._infer(request, timeout_s)
        if foreign.task is not None and len(request.inputs) == 1 and request.inputs[0].name == IMAGE.name:
            return await self._infer_picture(request, foreign.task, foreign.facts, timeout_s=timeout_s)
        return await self._infer(_plain(request), timeout_s)

    async def alive(self, *, timeout_s: float) -> None:
        """Returns if the server says that it is ready, and still has what it had; `timeout_s` is for each question.

        Raises `NotFound` (`upstream_not_ready`), `Conflict` (`digest_differs`).
        """
        if not self._dialect.read_ready(await self._wire.send(self._dialect.ready("", ""), timeout_s)):
            raise NotFound("upstream_not_ready", f"Upstream {self.url} is not ready.")
        for name, digest in self.digests.items():
            facts = await self.facts(name, timeout_s=timeout_s)
            if facts is not None and facts.parameters.get("digest", digest) != digest:
                raise Conflict(
                    "digest_differs", f"Upstream {self.url} has another {name!r} now; it is not asked for it."
                )

    async def introduce(self, *, timeout_s: float) -> None:
        """Asks the server what it speaks: tensors travel as JSON to one that knows no binary data."""
        told = self._dialect.read_server_metadata(await self._exchange(self._dialect.server_metadata(), timeout_s))
        self.knows_blocks = BLOCKS in told.extensions
        if self._http:
            self._dialect = HttpDialect(api_key=self._api_key, binary=BINARY in told.extensions)

    async def facts(self, model: str, *, timeout_s: float) -> ModelFacts | None:
        """What the server tells of a model; None where it has none of that name."""
        more = self._dialect.model_more(model) if self.knows_blocks else None
        try:
            told = self._dialect.read_model_metadata(
                await self._exchange(self._dialect.model_metadata(model, ""), timeout_s)
            )
            if more is not None:
                said = self._dialect.read_model_more(await self._exchange(more, timeout_s))
                told = replace(told, parameters={**told.parameters, **said})
        except (NotFound, Invalid):
            return None
        return told

    async def close(self) -> None:
        """Closes the connections."""
        await self._wire.close()

    async def _infer(self, request: InferRequest, timeout_s: float) -> InferAnswer:
        return self._dialect.read_infer(await self._exchange(self._dialect.infer(request), timeout_s))

    async def _infer_picture(
        self, request: InferRequest, task: Task, facts: ModelFacts, *, timeout_s: float
    ) -> InferAnswer:
        """The picture becomes the tensor here, off the loop, and the answer is read here."""
        prepared = await asyncio.to_thread(task.prepare, request.inputs[0].array.reshape(-1)[0])
        inputs = tuple(
            Tensor(spec.name, spec.datatype, array) for spec, array in zip(facts.inputs, prepared.arrays, strict=True)
        )
        answer = await self._infer(replace(_plain(request), inputs=inputs, outputs=()), timeout_s)
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

    async def _exchange(self, ask: Ask, timeout_s: float) -> Reply:
        traced = outgoing()
        if traced:
            ask = replace(ask, headers=(*ask.headers, *traced))
        reply = await self._wire.send(ask, timeout_s)
        error: LittoralError | None = self._dialect.error(reply)
        if error is not None:
            raise error
        return reply


def _plain(request: InferRequest) -> InferRequest:
    """The request without what is ours alone."""
    parameters = {name: value for name, value in request.parameters.items() if name not in OWN_PARAMETERS}
    return replace(request, parameters=parameters, budget_ms=None)
