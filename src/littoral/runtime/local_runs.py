"""What runs on this site, as a placer needs it; `Runtime` is one."""

from __future__ import annotations

import asyncio
from typing import Protocol

from littoral.core.request import InferAnswer, InferRequest
from littoral.runtime.lane import Served


class LocalRuns(Protocol):
    """What runs on this site, as `Runtime` offers it."""

    def find(self, name: str, version: str = "") -> Served: ...

    def begin(self, request: InferRequest) -> InferAnswer | asyncio.Future[InferAnswer]: ...

    def expected_ms(self, request: InferRequest, *, besides: int = 0) -> tuple[float, float]:
        """What a run here, with its wait, takes from now on: usually, and what it stays below.

        `besides`: so many more such runs may come before it.
        """
        ...

    def spare(self, request: InferRequest) -> bool:
        """Whether a run here would take nothing from anybody now: nobody waits for its cores, or for what they do."""
        ...
