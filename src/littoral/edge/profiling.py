"""Profiles of this node's models: from the cache, or measured beside the requests when there are none.

A model without a profile is measured once, by a process of its own at the lowest priority, begun in a moment when
nothing is asked. As soon as some real pictures have been asked about, it is measured once more with those: only then is
it known what a lossy codec does to its answers. The pictures are passed on in memory and never written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from littoral.core.errors import Corrupt, LittoralError
from littoral.edge.beside import run_beside
from littoral.model.model import Model
from littoral.model.profile import Profile
from littoral.model.profile_cache import ProfileCache
from littoral.model.repository import ModelSource, Repository
from littoral.monitor.log import log_of
from littoral.monitor.meters import Family
from littoral.runtime.crossing import AGREEMENT_MIN
from littoral.runtime.cutting_beside import Order
from littoral.runtime.dividing_meters import profile_families
from littoral.runtime.profiling_beside import Failure, write_order
from littoral.runtime.runtime import Runtime
from littoral.runtime.splits import Cuts, Splits, splits_from

_LOG = log_of("edge.profiling")
LOOK_S = 0.5
QUIET_LOOKS = 3  # so many looks in a row must find nothing to do
PICTURES_MIN = 8
MEASURE_S_MAX = 1800.0
CACHED, MEASURED, FAILED = "cached", "measured", "failed"


class Seen(Protocol):
    """Who keeps some pictures of each model that is watched."""

    @property
    def pictures(self) -> Mapping[str, Collection[bytes]]: ...

    def watch(self, name: str) -> None: ...

    def unwatch(self, name: str) -> None: ...


@dataclass(slots=True)
class _Known:
    """What was tried for one digest."""

    state: str
    with_pictures: bool = False


class Profiling:
    """Keeps a node's profiles and where their models may be cut, by digest; runs as one task beside the doors.

    `news` is set when some have come.
    """

    def __init__(
        self, runtime: Runtime, repository: Repository, cache: ProfileCache, *, agreement_min: float = AGREEMENT_MIN
    ) -> None:
        """`agreement_min`: the share of answers that a codec of a cut must leave as they are."""
        self.profiles: dict[str, Profile] = {}
        self.splits: dict[str, Splits] = {}
        self.news = asyncio.Event()
        self.seen: Seen | None = None
        self._runtime = runtime
        self._repository = repository
        self._cache = cache
        self._agreement_min = agreement_min
        self._known: dict[str, _Known] = {}

    async def run(self) -> None:
        """Looks after the models for ever."""
        while True:
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - the task must live on: another model may go better
                _LOG.warning("Models cannot be profiled.", reason=repr(error)[:300])
            await asyncio.sleep(LOOK_S)

    def families(self) -> Iterator[Family]:
        """Where each model's profile came from."""
        known = sorted((key, one.state) for key, one in self._known.items())
        names = {model.digest: model.name for model in self._models()}
        return profile_families([(names[digest], state) for digest, state in known if digest in names])

    def _models(self) -> list[Model]:
        """Every served model that could be cut."""
        names = sorted({name for name, _ in self._runtime.states() if self._runtime.is_ready(name)})
        models = [self._runtime.find(name).model for name in names]
        return [model for model in models if model.engine.platform == "onnxruntime_onnx"]

    async def _look(self) -> None:
        """Finds one model that wants a profile, and gets it."""
        for model in self._models():
            if model.digest not in self._known:
                await self._first(model)
                return
            if self._wants_pictures(model):
                assert self.seen is not None
                self._known[model.digest].with_pictures = True
                await self._measure(model, list(self.seen.pictures[model.name]))
                self.seen.unwatch(model.name)
                return

    async def _first(self, model: Model) -> None:
        """A profile from the cache, else a measured one."""
        engine = f"onnxruntime {model.engine.facts.get('onnxruntime', '')}".strip()
        found = None
        try:
            found = await asyncio.to_thread(self._cache.find, model.digest, engine=engine)
        except LittoralError as error:
            _LOG.warning(f"A kept profile of {model.name} is not used: {error.message}", code=error.code)
        if found is None:
            await self._measure(model, [])
        else:
            self._known[model.digest] = _Known(CACHED, found.inputs_real)
            await self._has(found)
        profile = self.profiles.get(model.digest)
        if self.seen is not None and model.task is not None and profile is not None and not profile.inputs_real:
            self.seen.watch(model.name)

    def _wants_pictures(self, model: Model) -> bool:
        known = self._known[model.digest]
        if known.with_pictures or known.state == FAILED or self.seen is None:
            return False
        return len(self.seen.pictures.get(model.name, ())) >= PICTURES_MIN

    async def _measure(self, model: Model, pictures: list[bytes]) -> None:
        """Measures a model in a quiet moment; what cannot be profiled is told and not tried again."""
        known = self._known.setdefault(model.digest, _Known(FAILED))
        await self._quiet()
        source = self._source(model)
        if source is None:
            return
        try:
            profile = await _measured(source, pictures)
            if profile.digest != model.digest:
                raise Corrupt("profile_wrong", "the file changed while it was measured.")
            await asyncio.to_thread(self._cache.put, profile)
        except LittoralError as error:
            _LOG.info(f"{model.name} has no profile, so it is not divided: {error.message}", code=error.code)
            return
        known.state = MEASURED
        await self._has(profile)
        _LOG.info("Model profiled.", model=model.name, pictures=len(pictures), steady=profile.steady)

    async def _has(self, profile: Profile) -> None:
        self.profiles[profile.digest] = profile
        try:
            self.splits[profile.digest] = await _worked_out(Order(profile, self._agreement_min))
        except LittoralError as error:
            _LOG.warning(f"Where a model may be cut is not known: {error.message}", code=error.code)
        self.news.set()

    async def _quiet(self) -> None:
        """Waits for a moment in which nothing is asked."""
        quiet = 0
        while quiet < QUIET_LOOKS:
            await asyncio.sleep(LOOK_S)
            quiet = quiet + 1 if self._runtime.in_flight == 0 else 0

    def _source(self, model: Model) -> ModelSource | None:
        """The file that a served model came from."""
        return next((one for one in self._repository.find(model.name) if one.version == model.version), None)


async def _measured(source: ModelSource, pictures: list[bytes]) -> Profile:
    """What a process of its own measures."""
    status, said = await run_beside(
        "littoral.runtime.profiling_beside", write_order(source, pictures), seconds_max=MEASURE_S_MAX
    )
    try:
        if status == 0:
            return msgspec.json.decode(said, type=Profile)
        failure = msgspec.json.decode(said, type=Failure)
    except msgspec.DecodeError:
        raise Corrupt("profile_wrong", f"measuring it ended with status {status}.") from None
    raise Corrupt(failure.code, failure.message)


async def _worked_out(order: Order) -> Splits:
    """The rows that a profile offers, from a process of its own."""
    given = msgspec.json.encode(order)
    status, said = await run_beside("littoral.runtime.cutting_beside", given, seconds_max=MEASURE_S_MAX)
    try:
        return splits_from(msgspec.json.decode(said, type=Cuts))
    except msgspec.DecodeError:
        raise Corrupt("profile_wrong", f"finding its cuts ended with status {status}.") from None
