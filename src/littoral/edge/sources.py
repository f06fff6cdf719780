"""How this node opens models: as their manifests say, with the threads that its operator set."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from littoral.model.manifest import Manifest
from littoral.model.model import Model
from littoral.model.opening import open_model
from littoral.model.repository import ModelSource


@dataclass(frozen=True, slots=True)
class ThreadedSource(ModelSource):
    """A source whose manifest names another number of threads than the one on disk."""

    threads: int = 1

    def manifest(self) -> Manifest:
        told = ModelSource.manifest(self)
        return msgspec.structs.replace(told, run=msgspec.structs.replace(told.run, threads=self.threads))


@dataclass(frozen=True, slots=True)
class ThreadedOpening:
    """Opens models; `threads` (per run, None: as each manifest says) comes before the manifests."""

    threads: int | None

    def __call__(self, source: ModelSource) -> Model:
        if self.threads is None:
            return open_model(source)
        wanted = ThreadedSource(
            source.name, source.version, source.path, source.manifest_path, source.operator, threads=self.threads
        )
        return open_model(wanted)
