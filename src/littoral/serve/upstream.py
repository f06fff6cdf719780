"""A server that this site may ask: any that speaks the Open Inference Protocol, over HTTP or gRPC.

Without retries of its own: what to do when a call fails or is late is decided by who asks. A server that takes no
pictures is sent the tensor that the model's task makes of one, and what it answers is read by the same task here.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from littoral.core.errors import Corrupt, Invalid, LittoralError, NotFound
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor
from littoral.model.tasks.task import IMAGE, Task
from littoral.serve.client.address import read_address
from littoral.serve.client.answer import ModelFacts
from littoral.serve.client.async_client import async_wire
from littoral.serve.client.client import dialect_of
from littoral.serve.client.wire import Ask, Reply

ANSWER_BYTES_MAX = 64 << 20
OWN_PARAMETERS = ("deadline_ms", "hops", "top_k", "threshold", "box_count_max", "max_escalation", "stays")


class Upstream:
    """One server's address, connections and what is known of its models; used from one event loop.

    `tasks` are by model name, for models that the server serves as plain tensors.
    """

    def __init__(self, url: str, *, api_key: str | None = None) -> None:
        address = read_address(url)
        self.url = address.url
        self.tasks: dict[str, tuple[Task, ModelFacts]] = {}
        self._wire = async_wire(address, None, answer_bytes_max=ANSWER_BYTES_MAX)
        self._dialect = dialect_of(address, api_key)

    async def infer(self, request: InferRequest, *, timeout_s: float) -> InferAnswer:
        """One inference; raises `LittoralError` only."""
        plain = self.tasks.get(request.model)
        if plain is not None and len(request.inputs) == 1 and request.inputs[0].name == IMAGE.name:
            return await self._infer_tensors(request, *plain, timeout_s=timeout_s)
        reply = await self._exchange(self._dialect.infer(request), timeout_s)
        return self._dialect.read_infer(reply)

    async def alive(self, *, timeout_s: float) -> None:
        """Returns if the server says that it is ready."""
        ask = self._dialect.ready("", "")
        reply = await self._wire.send(ask, timeout_s)
        if not self._dialect.read_ready(reply):
            raise NotFound("upstream_not_ready", f"Upstream {self.url} is not ready.")

    async def facts(self, model: str, *, timeout_s: float) -> ModelFacts | None:
        """What the server tells of a model; None where it has none of that name."""
        try:
            return self._dialect.read_model_metadata(
                await self._exchange(self._dialect.model_metadata(model, ""), timeout_s)
            )
        except (NotFound, Invalid):
            return None

    async def close(self) -> None:
        """Closes the connections."""
        await self._wire.close()

    async def _infer_tensors(
        self, request: InferRequest, task: Task, facts: ModelFacts, *, timeout_s: float
    ) -> InferAnswer:
        """The picture becomes the tensor here, off the loop, and the answer is read here."""
        prepared = await asyncio.to_thread(task.prepare, request.inputs[0].array.reshape(-1)[0])
        inputs = tuple(
            Tensor(spec.name, spec.datatype, array) for spec, array in zip(facts.inputs, prepared.arrays, strict=True)
        )
        parameters = {name: value for name, value in request.parameters.items() if name not in OWN_PARAMETERS}
        sent = replace(request, inputs=inputs, outputs=(), parameters=parameters, budget_ms=None)
        answer = self._dialect.read_infer(await self._exchange(self._dialect.infer(sent), timeout_s))
        try:
            arrays = [answer.output(spec.name).array for spec in facts.outputs]
        except KeyError as error:
            raise Corrupt("reply_wrong", f"Upstream {self.url} left out an output.", upstream=self.url) from error
        return replace(answer, outputs=task.finish(arrays, prepared.frame, request.parameters))

    async def _exchange(self, ask: Ask, timeout_s: float) -> Reply:
        reply = await self._wire.send(ask, timeout_s)
        error: LittoralError | None = self._dialect.error(reply)
        if error is not None:
            raise error
        return reply
