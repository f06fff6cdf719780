"""Heads and tails of served models, opened when they are first asked for and put away when they are not.

A part is a lane like any model's, so its requests are admitted, queued, joined and counted like any others; its name is
`MODEL@BLOCK-head` or `-tail`, which no model can have. Parts count against the limit on memory, make room for models,
and go with the model that they are cut from.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from pathlib import Path

from littoral.core.errors import Conflict, Invalid
from littoral.core.tensor import TensorSpec
from littoral.model.halves import cut_in_two
from littoral.model.model import Model
from littoral.model.opening import digest_of, engine_options
from littoral.model.profile import open_part
from littoral.runtime.halves import HeadTask, TailTask
from littoral.runtime.lane import Lane
from littoral.runtime.loading import MEMORY_PER_FILE, on_thread
from littoral.runtime.measure import example_inputs
from littoral.runtime.models import Key, Models

PARTS_MAX = 12
HEAD, TAIL = "head", "tail"
_BLOCK = re.compile(r"b(?:0|[1-9][0-9]{0,3})")


class Parts:
    """The parts of one runtime's models; used from its event loop only."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._specs: dict[Key, TensorSpec] = {}
        self._used: list[Key] = []  # the longest unused first
        self._opening: dict[tuple[int, Key], asyncio.Task[Lane]] = {}
        self._one_at_a_time = asyncio.Lock()

    def find(self, model: Model, block: str, half: str) -> Lane | None:
        """The part of a served model if it is open."""
        key = _key(model, block, half)
        lane = self._models.lanes.get(key)
        if lane is None or lane.of is None or lane.of.model is not model:
            return None
        self._used.remove(key)
        self._used.append(key)
        return lane

    def spec(self, lane: Lane) -> TensorSpec:
        """The tensor that crosses at a part's cut."""
        return self._specs[lane.name, lane.version]

    async def open(self, model: Model, block: str, half: str) -> Lane:
        """The part, opened if need be; whoever asks meanwhile waits for the same, and it is opened though nobody waits.

        Raises `Invalid` (`cut_unknown`, `split_impossible`), `Conflict` (`digest_differs`), `Overloaded`
        (`models_limit`), and what cutting and opening raise.
        """
        if _BLOCK.fullmatch(block) is None:
            raise Invalid("cut_unknown", f"There is no block {block[:40]!r}. Blocks are named b0, b1, …")
        found = self.find(model, block, half)
        if found is not None:
            return found
        key = id(model), _key(model, block, half)
        task = self._opening.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._open(model, block, half))
            self._opening[key] = task
            task.add_done_callback(lambda done: self._opened(key, done))
        return await asyncio.shield(task)

    def _opened(self, key: tuple[int, Key], task: asyncio.Task[Lane]) -> None:
        del self._opening[key]
        if not task.cancelled():
            task.exception()  # whoever asked was told; nobody may be left to hear it

    async def _open(self, model: Model, block: str, half: str) -> Lane:
        async with self._one_at_a_time:
            owner = self._models.find(model.name, model.version)
            if owner.model is not model or owner.path is None:
                raise Invalid("split_impossible", f"Model {model.name!r} is no file that could be cut.")
            content, spec = await on_thread(partial(_cut, model, owner.path, block, half), name="littoral-cut")
            key = _key(model, block, half)
            self._make_room()
            lane = await self._models.attach(
                owner,
                key[0],
                partial(_open_half, model, key[0], content, half, spec),
                weight_bytes=int(len(content) * MEMORY_PER_FILE),
            )
            self._specs[key] = spec
            self._used.append(key)
            return lane

    def _make_room(self) -> None:
        """Forgets parts that went with their models, and puts the longest unused away where there are too many."""
        self._used = [key for key in self._used if key in self._models.lanes]
        self._specs = {key: self._specs[key] for key in self._used}
        while len(self._used) >= PARTS_MAX:
            self._models.detach(self._used.pop(0))


def _key(model: Model, block: str, half: str) -> Key:
    return f"{model.name}@{block}-{half}", model.version


def _cut(model: Model, path: Path, block: str, half: str) -> tuple[bytes, TensorSpec]:
    """One half's bytes and the tensor at the cut, if the file is still the one that was loaded."""
    samples = example_inputs(model.inputs, model.manifest.input)
    if samples is None or len(samples) != 1 or model.manifest.task == "anomaly":
        raise Invalid("split_impossible", f"Model {model.name!r} cannot be cut: it needs one input of a known size.")
    if digest_of(path) != model.digest:
        raise Conflict("digest_differs", f"{path} is no longer the file that was loaded. Load the model again.")
    halves = cut_in_two(path, block, samples[0], engine_options(model.manifest))
    return (halves.head if half == HEAD else halves.tail), halves.spec


def _open_half(model: Model, name: str, content: bytes, half: str, spec: TensorSpec) -> Model:
    engine = open_part(content, engine_options(model.manifest))
    task: HeadTask | TailTask | None = None
    if model.task is not None:
        task = HeadTask(model.task) if half == HEAD else TailTask(model.task, spec)
    return Model(name, model.version, model.digest, model.manifest, engine, task)
