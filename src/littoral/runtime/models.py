"""Which models stand in service, which come and go: the table that the event loop alone changes.

A new version is opened and measured on a thread beside the old one, then takes its place between two requests. The old
one is closed when its last request is answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

from littoral.core.clock import Clock
from littoral.core.errors import LittoralError, NotFound, Unavailable
from littoral.core.ident import newest
from littoral.model.model import Model
from littoral.model.repository import ModelSource, ModelState
from littoral.monitor.meters import Meters
from littoral.runtime.lane import Lane, make_lane
from littoral.runtime.loading import OpenModel, check_room, on_thread, open_measured, opened_by, weigh

# States of versions that left are kept for an operator to read, but not for ever.
GONE_MAX = 64

Key = tuple[str, str]


class Models:
    """Lanes by name and version, and what became of every version that was asked for."""

    def __init__(
        self, *, clock: Clock, meters: Meters, opener: OpenModel, workers: int, models_bytes_max: int | None
    ) -> None:
        self.lanes: dict[Key, Lane] = {}
        self.newest: dict[str, Lane] = {}
        self.states: dict[Key, ModelState] = {}
        self._wanted: set[str] = set()
        self._clock = clock
        self._meters = meters
        self._opener = opener
        self._workers = workers
        self._bytes_max = models_bytes_max
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        meters.watch_states(self.count_states)

    @property
    def complete(self) -> bool:
        """Whether every name that was asked for and not unloaded has a version in service."""
        return all(name in self.newest for name in self._wanted)

    def expect(self, names: Iterable[str]) -> None:
        """Names that will be loaded: nothing is complete before they are."""
        self._wanted.update(names)

    def find(self, name: str, version: str) -> Lane:
        """The lane in service, the newest for version ""; else an error that says what is the matter."""
        lane = self.lanes.get((name, version)) if version else self.newest.get(name)
        if lane is not None:
            return lane
        states = {known: state for (of, known), state in self.states.items() if of == name}
        if not states and name not in self._wanted:
            served = ", ".join(sorted(self.newest)[:20]) or "none"
            raise NotFound(
                "model_unknown", f"No model {name[:128]!r} is served here. Served: {served}.", model=name[:128]
            )
        if version and version not in states:
            here = ", ".join(self.versions(name)) or "none"
            raise NotFound(
                "version_unknown",
                f"Model {name!r} has no version {version[:20]!r}. In service: {here}.",
                model=name,
                version=version[:20],
            )
        state = states.get(version or newest(list(states))) if states else None
        said = f"{state.state}{': ' + state.reason if state.reason else ''}" if state is not None else "not loaded yet"
        raise Unavailable("model_not_ready", f"Model {name!r} is not in service ({said}).", model=name)

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions in service, oldest first."""
        return tuple(sorted((version for of, version in self.lanes if of == name), key=int))

    def count_states(self) -> dict[str, int]:
        """How many versions are in each state."""
        return Counter(state.state for state in self.states.values())

    async def load(self, source: ModelSource) -> None:
        """Opens, measures and puts in service; a version that serves already goes on until the new one can."""
        self._wanted.add(source.name)
        async with self._lock(source.name):
            await self._load(source)

    async def unload(self, name: str) -> None:
        """Takes every version out of service; returns when their requests are answered and their memory is free."""
        if name not in self.newest and all(of != name for of, _ in self.states):
            raise NotFound("model_unknown", f"No model {name[:128]!r} was loaded here.", model=name[:128])
        async with self._lock(name):
            self._wanted.discard(name)
            leaving = [self._take_out((name, version)) for version in self.versions(name)]
            await asyncio.gather(*(self._put_away(lane, "unloaded") for lane in leaving))

    def retire(self, name: str, *, keep: Sequence[str]) -> None:
        """Takes every version but `keep` out of service; they are closed when their requests are answered."""
        for version in self.versions(name):
            if version not in keep:
                lane = self._take_out((name, version))
                self._start(self._put_away(lane, "replaced by another version", forget=True))

    async def attach(self, of: Lane, name: str, opener: Callable[[], Model], *, weight_bytes: int) -> Lane:
        """Puts a part of a served model in service, under a name that no model has; it goes when that model goes.

        Raises `Overloaded` (`models_limit`), `Unavailable` (`model_not_ready`) where the model goes meanwhile, and what
        the opener raises.
        """
        taken = sum(lane.weight_bytes for lane in self.lanes.values())
        check_room(name, weight_bytes, taken_bytes=taken, bytes_max=self._bytes_max)
        opened = await on_thread(
            partial(opened_by, opener, self._clock),
            name=f"littoral-load-{name}",
            leftover=lambda late: late.model.close(),
        )
        key = (name, of.version)
        if self._closed or of.leaving or self.lanes.get((of.name, of.version)) is not of:
            opened.model.close()
            raise Unavailable("model_not_ready", f"Model {of.name!r} went while a part of it was opened.")
        meters = self._meters.model(*key)
        lane = make_lane(opened.model, opened.points, meters=meters, workers=self._workers, weight_bytes=weight_bytes)
        lane.of = of
        _show(lane)
        self.lanes[key] = lane
        return lane

    def detach(self, key: Key) -> None:
        """Takes a part out of service; it is closed when its requests are answered."""
        lane = self.lanes.pop(key)
        assert lane.of is not None, "models are unloaded, not detached"
        self._start(self._put_away(lane, ""))

    async def close(self, *, stuck: frozenset[Lane]) -> None:
        """Closes every model save those that a worker is still stuck in."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for key in list(self.lanes):
            lane = self.lanes.pop(key)
            if lane not in stuck:
                await on_thread(lane.model.close, name="littoral-close")
        self.newest.clear()

    async def _load(self, source: ModelSource) -> None:
        key = (source.name, source.version)
        if key not in self.lanes:
            self.states[key] = ModelState("LOADING")
        try:
            weight_bytes = weigh(source.path)
            self._find_room(source.name, weight_bytes)
            opened = await on_thread(
                partial(open_measured, source, self._opener, self._clock),
                name=f"littoral-load-{source.name}",
                leftover=lambda late: late.model.close(),
            )
        except BaseException as error:
            self._failed(key, error)
            raise
        if self._closed:
            opened.model.close()
            raise Unavailable("closing", "This server was closed while the model was opened.")
        meters = self._meters.model(*key)
        lane = make_lane(opened.model, opened.points, meters=meters, workers=self._workers, weight_bytes=weight_bytes)
        lane.path = source.path
        _show(lane)
        old = self.lanes.get(key)
        self.lanes[key] = lane
        self.states[key] = ModelState("READY")
        self._refresh(source.name)
        self._meters.loads.labels(source.name, "ok").inc()
        if old is not None:
            self._start(self._put_away(old, ""))

    def _find_room(self, name: str, weight_bytes: int) -> None:
        """Checks that a model fits beside the others; parts of models make room for it."""
        taken = {
            key: lane
            for key, lane in self.lanes.items()
            if key[0] != name and (lane.of is None or lane.of.name != name)
        }
        whole = sum(lane.weight_bytes for lane in taken.values() if lane.of is None)
        check_room(name, weight_bytes, taken_bytes=whole, bytes_max=self._bytes_max)
        parts = [key for key, lane in taken.items() if lane.of is not None]
        if (
            self._bytes_max is not None
            and weight_bytes + sum(one.weight_bytes for one in taken.values()) > self._bytes_max
        ):
            for key in parts:
                self.detach(key)

    def _failed(self, key: Key, error: BaseException) -> None:
        reason = error.message if isinstance(error, LittoralError) else "loading was broken off"
        serving = key in self.lanes
        self.states[key] = ModelState(
            "READY" if serving else "UNAVAILABLE", f"Reload failed: {reason}" if serving else reason
        )
        self._meters.loads.labels(key[0], "failed").inc()

    def _take_out(self, key: Key) -> Lane:
        lane = self.lanes.pop(key)
        self.states[key] = ModelState("UNLOADING")
        self._refresh(key[0])
        return lane

    async def _put_away(self, lane: Lane, reason: str, *, forget: bool = False) -> None:
        """Waits for the last answer and closes; `reason` "" where another lane has the same name and version."""
        lane.leaving = True
        for part in [known for known, other in self.lanes.items() if other.of is lane]:
            self.detach(part)
        if lane.in_flight:
            await lane.emptied.wait()
        await on_thread(lane.model.close, name=f"littoral-close-{lane.name}")
        key = (lane.name, lane.version)
        if reason and key not in self.lanes:
            self.states[key] = ModelState("UNAVAILABLE", reason)
            if forget:
                self._meters.forget(*key)
                self._prune(lane.name)

    def _prune(self, name: str) -> None:
        gone = [key for key, state in self.states.items() if key[0] == name and state.state == "UNAVAILABLE"]
        for key in gone[: max(0, len(gone) - GONE_MAX)]:
            del self.states[key]

    def _refresh(self, name: str) -> None:
        versions = self.versions(name)
        if versions:
            self.newest[name] = self.lanes[name, newest(list(versions))]
        else:
            self.newest.pop(name, None)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _show(lane: Lane) -> None:
    """Lets a lane's meters see what waits in it and what its cache holds."""
    cache = lane.cache
    lane.meters.queue_length = lambda: lane.waiting
    lane.meters.cache_bytes = (lambda: cache.byte_count) if cache is not None else (lambda: 0)
