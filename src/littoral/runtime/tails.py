"""The far end of a layer split: an inference that begins at a block, with an activation that another site made.

It is the protocol's own `infer` with three parameters: `block` (the last block that ran elsewhere), `digest` (of the
model that made the activation) and, for pictures, `frame`. Its one input is `activation`, packed by `net/codec`. With
`prepare` nothing is run: the tail is opened, and the answer says that it stands ready. The block `input` stands before
the first one: the whole model runs, and the activation is its packed input.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from littoral.core.errors import Conflict, Invalid, Unavailable
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.tensor import Array, Tensor, bytes_array
from littoral.model.model import Model
from littoral.model.tasks.task import IMAGE
from littoral.runtime.answers import parameters_of
from littoral.runtime.halves import ACTIVATION, CODEC, FRAME, unpack_activation
from littoral.runtime.lane import Lane
from littoral.runtime.parts import TAIL, Parts
from littoral.runtime.peer import BLOCK, DIGEST, INPUT, PREPARE
from littoral.runtime.runtime import Runtime

PLAN = "tail"
_OURS = frozenset((BLOCK, CODEC, DIGEST, PREPARE))


class Tails:
    """Answers requests that begin at a block; used from the runtime's event loop only."""

    def __init__(self, runtime: Runtime, parts: Parts) -> None:
        self._runtime = runtime
        self._parts = parts
        self._begun: set[asyncio.Task[Lane]] = set()

    def begin(self, request: InferRequest) -> asyncio.Future[InferAnswer]:
        """Starts one inference from a block on, or makes its tail ready.

        Raises `Conflict` (`digest_differs`) where the model here is another, `Invalid` (`parameter_wrong`).
        """
        block, digest = request.parameters[BLOCK], request.parameters.get(DIGEST)
        model = self._runtime.find(request.model, request.version).model
        if not isinstance(block, str):
            raise Invalid("parameter_wrong", "Parameter 'block' takes a block's name, such as b3.")
        if digest != model.digest:
            raise Conflict(
                "digest_differs",
                f"Model {model.name!r} here is {model.digest[:19]}, not {str(digest)[:19]}: half of one never meets "
                "half of another. Serve the same file on both sites.",
                model=model.name,
            )
        work = self._whole if block == INPUT else self._answer
        if request.parameters.get(PREPARE) is True:
            work = self._prepare
        return asyncio.get_running_loop().create_task(work(request, model, block))

    async def _prepare(self, request: InferRequest, model: Model, block: str) -> InferAnswer:
        if block != INPUT:
            await self._parts.open(model, block, TAIL)
        return InferAnswer(model.name, model.version, (), request.id, self._said(model, block, {PREPARE: True}))

    async def _answer(self, request: InferRequest, model: Model, block: str) -> InferAnswer:
        lane = self._parts.find(model, block, TAIL)
        if lane is None:
            self._open_beside(model, block)
            raise Unavailable(
                "tail_not_ready", f"The tail of {model.name!r} after {block[:40]} is being opened. Ask again."
            )
        packed = _activation(request)
        if FRAME in request.parameters:
            given = Tensor(IMAGE.name, IMAGE.datatype, packed)
        else:
            spec = self._parts.spec(lane)
            array = await asyncio.to_thread(unpack_activation, packed.reshape(-1)[0], spec)
            given = Tensor(spec.name, spec.datatype, array)
        inner = replace(request, model=lane.name, version=lane.version, inputs=(given,))
        return await self._run(inner, model, block)

    async def _whole(self, request: InferRequest, model: Model, block: str) -> InferAnswer:
        """All of the model, its input having crossed packed."""
        if len(model.inputs) != 1:
            raise Invalid("inputs_wrong", f"Model {model.name!r} takes several inputs. Send them as they are.")
        spec = model.inputs[0]
        array = await asyncio.to_thread(unpack_activation, _activation(request).reshape(-1)[0], spec)
        return await self._run(replace(request, inputs=(Tensor(spec.name, spec.datatype, array),)), model, block)

    async def _run(self, inner: InferRequest, model: Model, block: str) -> InferAnswer:
        """Runs what was unpacked, and answers as the model itself."""
        parameters = {name: value for name, value in inner.parameters.items() if name not in _OURS}
        begun = self._runtime.begin(replace(inner, parameters=parameters))
        answer = begun if isinstance(begun, InferAnswer) else await begun
        told = self._said(model, block, answer.parameters)
        return replace(answer, model=model.name, version=model.version, parameters=told)

    def _open_beside(self, model: Model, block: str) -> None:
        """Opens a tail that somebody asked for too early."""
        task = asyncio.get_running_loop().create_task(self._parts.open(model, block, TAIL))
        self._begun.add(task)
        task.add_done_callback(partial(_forget, self._begun))

    def _said(self, model: Model, block: str, more: Mapping[str, Parameter]) -> dict[str, Parameter]:
        said = parameters_of(self._runtime.site, 0.0, 0.0)
        return {**said, **more, "plan": PLAN, BLOCK: block, DIGEST: model.digest}


def _forget(begun: set[asyncio.Task[Lane]], task: asyncio.Task[Lane]) -> None:
    begun.discard(task)
    if not task.cancelled():
        task.exception()


def _activation(request: InferRequest) -> Array:
    """The packed activation as one BYTES element; it may also have come as a row of UINT8."""
    given = request.inputs
    if len(given) == 1 and given[0].name == ACTIVATION:
        array = given[0].array
        if given[0].datatype == "BYTES" and array.size == 1:
            return array.reshape(1)
        if given[0].datatype == "UINT8" and array.ndim == 1:
            return bytes_array([array.tobytes()])
    raise Invalid(
        "inputs_wrong", "A request with 'block' takes one input 'activation': one BYTES element, or UINT8 [n]."
    )
