"""The protocol's verbs without a wire: what every door calls, and nothing else.

The data plane knows no model, no JSON and no HTTP. It asks the runtime for answers and the repository for what could be
loaded, and both doors translate what comes back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from littoral.core.errors import LittoralError
from littoral.core.request import InferAnswer, InferRequest, Parameters
from littoral.core.tensor import Tensor, TensorSpec, bytes_array
from littoral.model.repository import IndexEntry, Repository
from littoral.model.tasks.task import IMAGE
from littoral.runtime.runtime import Runtime
from littoral.runtime.statistics import ModelStatistics

if TYPE_CHECKING:
    from littoral.monitor.tracing import Tracing
    from littoral.runtime.corrections import Corrections
    from littoral.runtime.placer import Placer
    from littoral.runtime.tails import Tails

BLOCK = "block"
BLOCKS = "littoral_blocks"  # an inference may begin at a block, with an activation that another site made
EXTENSIONS = (
    "binary_tensor_data",
    "model_repository",
    "model_repository(unload_dependents)",
    "statistics",
    "model_configuration",
    BLOCKS,
)


Begin = Callable[[InferRequest], "InferAnswer | asyncio.Future[InferAnswer]"]


class Observer(Protocol):
    """Is told of every answer before the caller is."""

    def begins(self, request: InferRequest) -> InferRequest:
        """The request as it should run: an observer may want to be told more than the caller asked for."""
        ...

    def ends(
        self, request: InferRequest, answer: InferAnswer, took_ms: float
    ) -> tuple[InferAnswer, asyncio.Future[Any] | None]:
        """The answer as its caller gets it, to the request as the caller sent it; where there is a future the answer
        waits for it and fails with it.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """Who answers here."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model's signature as callers see it: its own tensors, and the task's where it takes pictures.

    `inputs` and `outputs` are the model's own. `task` is "tensor" for a model without one; otherwise `task_outputs`
    names what an `image` input is answered with.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    task: str
    task_outputs: tuple[TensorSpec, ...]
    description: str
    digest: str
    labels: tuple[str, ...]
    batch_size_max: int


class DataPlane:
    """One server's verbs; used from its event loop only."""

    def __init__(
        self,
        runtime: Runtime,
        repository: Repository,
        *,
        server_version: str,
        placer: Placer | None = None,
        observer: Observer | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """With a `placer`, requests may be answered by upstreams; without one all are answered here.

        The `observer` is told of each answer; `tracing` makes a span of each step.
        """
        self._runtime = runtime
        self._repository = repository
        self._server_version = server_version
        self._placer = placer
        begin: Begin = runtime.begin if placer is None else placer.begin
        if tracing is not None:
            begin = tracing.step("run" if placer is None else "place", begin)
        begin = begin if observer is None else _observed(begin, observer)
        self._whole = begin if tracing is None else tracing.door(begin)
        self._part: Begin = self._tail if tracing is None else tracing.door(self._tail)
        self._tails: Tails | None = None

    @property
    def site(self) -> str:
        """The name of the place that answers."""
        return self._runtime.site

    def live(self) -> bool:
        """Whether the process answers at all."""
        return True

    def ready(self) -> bool:
        """Whether everything that should be loaded is."""
        return self._runtime.ready

    def model_ready(self, name: str, version: str = "") -> bool:
        """Whether a request for this model would run; `NotFound` for a name that is in no repository."""
        if self._runtime.is_ready(name, version):
            return True
        self._repository.check_known(name)
        return False

    def server_metadata(self) -> ServerMetadata:
        """Name, version and protocol extensions."""
        return ServerMetadata("littoral", self._server_version, EXTENSIONS)

    def model_metadata(self, name: str, version: str = "") -> ModelMetadata:
        """The signature of a loaded model; `NotFound` where it is not loaded."""
        served = self._runtime.find(name, version)
        model = served.model
        return ModelMetadata(
            name=model.name,
            versions=self._runtime.versions(name),
            platform=model.engine.platform,
            inputs=model.inputs,
            outputs=model.outputs,
            task=model.manifest.task,
            task_outputs=() if model.task is None else model.task.outputs,
            description=model.manifest.description,
            digest=model.digest,
            labels=tuple(model.manifest.labels),
            batch_size_max=served.batch_size_max,
        )

    def would_refuse(self, name: str, version: str = "", *, budget_ms: float | None = None) -> LittoralError | None:
        """What a request for this model would be refused with now, before its body is read; None if it may come."""
        if self._placer is not None and self._placer.places(name) and self._runtime.is_ready(name, version):
            return None  # what this site has no room for may find some upstream
        return self._runtime.would_refuse(name, version, budget_ms=budget_ms)

    def begin(self, request: InferRequest) -> InferAnswer | asyncio.Future[InferAnswer]:
        """Starts one inference: the answer at once where the model is tiny, else a future on this loop.

        A request that is wrong, or cannot finish in time, is refused here and now.
        """
        if BLOCK in request.parameters:
            return self._part(request)
        return self._whole(request)

    @property
    def corrections(self) -> Corrections | None:
        """The late answers of upstreams; None where there is no upstream."""
        return None if self._placer is None else self._placer.corrections

    async def infer(self, request: InferRequest) -> InferAnswer:
        """One inference from start to end."""
        begun = self.begin(request)
        return begun if isinstance(begun, InferAnswer) else await begun

    async def predict(
        self, name: str, image: bytes, *, version: str = "", parameters: Parameters, budget_ms: float | None = None
    ) -> InferAnswer:
        """One encoded picture through a model with an image task."""
        tensor = Tensor(IMAGE.name, IMAGE.datatype, bytes_array([image]))
        request = InferRequest(name, (tensor,), version=version, parameters=parameters, budget_ms=budget_ms)
        return await self.infer(request)

    def statistics(self, name: str = "", version: str = "") -> tuple[ModelStatistics, ...]:
        """Counts and durations of one loaded model, or of all of them for an empty name."""
        return self._runtime.statistics(name, version)

    def index(self, *, ready_only: bool = False) -> tuple[IndexEntry, ...]:
        """Every model and version of the repositories with its state; `reason` explains one that is not ready."""
        entries = self._repository.index(self._runtime.states())
        return tuple(entry for entry in entries if entry.state == "READY" or not ready_only)

    async def load(self, name: str) -> None:
        """Loads a model, or the newest version of one that is loaded; the old one answers until the new one can."""
        for source in self._repository.find(name):
            await self._runtime.load(source)
        self._runtime.retire(name, keep=self._repository.wanted_versions(name))

    async def unload(self, name: str) -> None:
        """Takes a model out of service; requests in flight are answered first."""
        await self._runtime.unload(name)

    def _tail(self, request: InferRequest) -> asyncio.Future[InferAnswer]:
        """An inference that begins at a block; what it needs is loaded when the first one comes."""
        if self._tails is None:
            from littoral.runtime.tails import Tails

            self._tails = Tails(self._runtime, self._runtime.parts)
        return self._tails.begin(request)


def _observed(begin: Begin, observer: Observer) -> Begin:
    """The same, with every answer shown to an observer first."""

    async def shown(request: InferRequest, answered: asyncio.Future[InferAnswer], began_s: float) -> InferAnswer:
        answer, kept = observer.ends(request, await answered, (time.perf_counter() - began_s) * 1e3)
        if kept is not None:
            await kept
        return answer

    async def kept_first(kept: asyncio.Future[Any], answer: InferAnswer) -> InferAnswer:
        await kept
        return answer

    def begun(request: InferRequest) -> InferAnswer | asyncio.Future[InferAnswer]:
        began_s = time.perf_counter()
        started = begin(observer.begins(request))
        if not isinstance(started, InferAnswer):
            return asyncio.ensure_future(shown(request, started, began_s))
        answer, kept = observer.ends(request, started, (time.perf_counter() - began_s) * 1e3)
        return answer if kept is None else asyncio.ensure_future(kept_first(kept, answer))

    return begun
