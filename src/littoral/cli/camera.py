"""A camera of the demo: sends pictures to an edge at its own pace, and remembers what became of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from littoral.core.errors import LittoralError
from littoral.serve.client.async_client import AsyncClient

LATE_SLACK_MS = 50.0  # a caller on the same machine waits for its own turn, too


@dataclass(slots=True)
class Seen:
    """What became of the pictures of one camera; `ids` are those that were answered.

    `said` counts how often a picture, by its place, got a label, of answers that were not degraded.
    """

    sent: int = 0
    answered: int = 0
    late: int = 0
    degraded: int = 0
    away: int = 0
    right: int = 0
    labelled: bool = False
    failed: dict[str, int] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    ran_at: dict[str, int] = field(default_factory=dict)
    said: dict[tuple[int, str], int] = field(default_factory=dict)


class Camera:
    """Asks `url()` for each picture in turn, from the `first` on; one that finds nobody there waits for the next."""

    def __init__(
        self,
        name: str,
        pictures: Sequence[tuple[bytes, str]],
        url: Callable[[], str],
        *,
        model: str,
        pictures_per_s: Callable[[], float],
        deadline_ms: float,
        first: int = 0,
    ) -> None:
        self.name = name
        self.seen = Seen()
        self._pictures = pictures
        self._first = first
        self._url = url
        self._model = model
        self._pictures_per_s = pictures_per_s
        self._deadline_ms = deadline_ms
        self._asking: set[asyncio.Task[None]] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Until told to stop, and then until the last answer is there."""
        clients: dict[str, AsyncClient] = {}
        try:
            number = 0
            while not stopping.is_set():
                url = self._url()
                if url:
                    client = clients.get(url) or clients.setdefault(url, AsyncClient(url, timeout_s=10.0, retries=0))
                    task = asyncio.get_running_loop().create_task(self._ask(client, url, number))
                    self._asking.add(task)
                    task.add_done_callback(self._asking.discard)
                    number += 1
                try:
                    await asyncio.wait_for(stopping.wait(), 1.0 / self._pictures_per_s())
                except TimeoutError:
                    continue
            await asyncio.gather(*self._asking)
        finally:
            for client in clients.values():
                await client.close()

    async def _ask(self, client: AsyncClient, url: str, number: int) -> None:
        place = (self._first + number) % len(self._pictures)
        picture, truth = self._pictures[place]
        request_id = f"{self.name}/{number}"
        seen = self.seen
        seen.sent += 1
        began_s = time.perf_counter()
        try:
            found = await client.predict(
                self._model, picture, deadline_ms=self._deadline_ms, request_id=request_id, parameters={"top_k": 1}
            )
        except LittoralError as error:
            if self._url() != url:
                seen.away += 1  # its edge lost its power in between
            else:
                seen.failed[error.code] = seen.failed.get(error.code, 0) + 1
            return
        took_ms = (time.perf_counter() - began_s) * 1e3
        seen.answered += 1
        seen.ids.add(request_id)
        seen.latencies_ms.append(took_ms)
        seen.late += took_ms > self._deadline_ms + LATE_SLACK_MS
        seen.degraded += found.degraded
        seen.labelled |= bool(truth)
        seen.right += found.label == truth
        if not found.degraded:
            seen.said[place, found.label] = seen.said.get((place, found.label), 0) + 1
        seen.ran_at[found.site] = seen.ran_at.get(found.site, 0) + 1
