"""Every served model and the way of one request through it: check, admit, run, measure, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from littoral.core.clock import Clock
from littoral.core.request import InferAnswer, InferRequest
from littoral.model.model import Model
from littoral.model.repository import ModelSource, ModelState
from littoral.monitor.meters import Meters
from littoral.runtime.statistics import ModelStatistics


@dataclass(frozen=True, slots=True)
class Served:
    """A model that is in service, as the data plane may see it."""

    model: Model
    batch_size_max: int


class Runtime:
    """Loads models and answers requests; owned by one event loop, which alone changes its state."""

    site: str

    def __init__(
        self,
        *,
        site: str,
        clock: Clock,
        meters: Meters,
        workers: int | None = None,
        models_bytes_max: int | None = None,
    ) -> None: ...

    @property
    def ready(self) -> bool:
        """Whether the first loading is over and nothing that should serve is missing."""
        ...

    def is_ready(self, name: str, version: str = "") -> bool: ...

    def find(self, name: str, version: str = "") -> Served:
        """The served model; `NotFound` (`model_unknown`, `version_unknown`) or `Unavailable` (`model_not_ready`)."""
        ...

    def versions(self, name: str) -> tuple[str, ...]: ...

    def states(self) -> Mapping[tuple[str, str], ModelState]:
        """What became of every version that was ever asked for."""
        ...

    def statistics(self, name: str = "", version: str = "") -> tuple[ModelStatistics, ...]: ...

    async def load(self, source: ModelSource) -> None:
        """Opens, measures and puts in service; raises what the engine raised, which `states` then repeats."""
        ...

    def retire(self, name: str, *, keep: Sequence[str]) -> None:
        """Takes every version but `keep` out of service once its requests are answered."""
        ...

    async def unload(self, name: str) -> None: ...

    def begin(self, request: InferRequest) -> InferAnswer | asyncio.Future[InferAnswer]: ...

    async def close(self) -> None:
        """Refuses new requests, answers what is in flight, ends the workers."""
        ...
