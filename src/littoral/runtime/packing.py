"""What packing does to a model's inputs on this site: measured beside the requests, one input at a time.

A picture that is stored without loss crosses in one of the forms of `model.tasks.recoding`, a tensor packed by zstd. A
form is offered for a crossing once its size and time are known. One that loses something is offered only where the
model itself is here: it answers a picture in both forms in a moment when nobody wants the core, and the form fits
while, with 95 % confidence, no more answers change than the budget allows (the exact binomial bound of `plan.cascade`).
What is decided is looked at again with every twentieth input, since inputs change. A cascade's promise was measured on
pictures as they came, so only a form without loss is offered there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextvars import Context
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from littoral.core.clock import Clock
from littoral.core.errors import LittoralError
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Array, Tensor, bytes_array
from littoral.model.model import Model
from littoral.model.tasks.recoding import LOSSLESS, forms_for, raw_pixels, recode
from littoral.model.tasks.task import IMAGE
from littoral.monitor.log import log_of
from littoral.net.codec import pack
from littoral.plan.cascade import binomial_tail, binomial_upper
from littoral.runtime.cascading import differs
from littoral.runtime.crossing import AGREEMENT_MIN, Crossing
from littoral.runtime.halves import ACTIVATION, ROWS_MAX
from littoral.runtime.local_runs import LocalRuns
from littoral.runtime.peer import BLOCK, DIGEST, INPUT
from littoral.runtime.placed import Turn, shows

_LOG = log_of("runtime.packing")
ZSTD = "raw+zstd"
WITHOUT_LOSS = (LOSSLESS, ZSTD)
TENSOR_BYTES_MIN = 8 << 10  # a smaller one costs a call and hardly a byte
PACKS_MAX = 2  # at a time: each takes memory and a core
RECENT_MAX = 32
TRIES_KEPT = 1000
SIZES_MIN = 3  # so many inputs tell what a form weighs and takes
ERROR_RATE = 0.05
HOPELESS_RATE = 0.001  # so unlikely must it be that a form keeps its budget before it is tried less often
LOOK_EVERY = 20  # inputs, once a form is decided about


@dataclass(slots=True)
class Form:
    """What one form of a model's inputs weighs and takes, each for a pixel or byte, and where it changed the answer."""

    name: str
    budget: float
    tries: deque[bool] = field(default_factory=lambda: deque(maxlen=TRIES_KEPT))
    packed: int = 0
    saved_bytes: int = 0
    bytes_per_unit: float = 0.0
    ms_per_unit: float = 0.0
    fits: bool = False
    hopeless: bool = False
    _bytes: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))
    _ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))

    @property
    def lossless(self) -> bool:
        """Whether nothing is lost."""
        return self.name in WITHOUT_LOSS

    @property
    def known(self) -> bool:
        """Whether enough inputs told what it weighs."""
        return len(self._bytes) >= SIZES_MIN

    @property
    def decided(self) -> bool:
        """Whether there is nothing to find out but whether things changed."""
        return self.known and (self.lossless or self.fits or self.hopeless)

    def took(self, units: int, size_bytes: int, ms: float) -> None:
        """One input more was packed."""
        self._bytes.append(size_bytes / units)
        self._ms.append(ms / units)
        self.bytes_per_unit, self.ms_per_unit = _middle(self._bytes), _middle(self._ms)

    def forget(self) -> None:
        """The model is another one: what the form does to its answers is not known."""
        self.tries.clear()
        self.fits = self.hopeless = False

    def tried(self, *, otherwise: bool) -> None:
        """One picture more was answered in this form and as it came."""
        self.tries.append(otherwise)
        changed, count = sum(self.tries), len(self.tries)
        self.fits = binomial_upper(changed, count, ERROR_RATE) <= self.budget
        self.hopeless = not self.fits and binomial_tail(changed, count, self.budget) < HOPELESS_RATE


class Packable(NamedTuple):
    """An input that may cross smaller: its pixels or bytes, and the forms that there are for it."""

    units: int
    forms: tuple[str, ...] = ()


class Packing:
    """Every model's inputs on one site; used from its event loop only."""

    def __init__(self, runtime: LocalRuns, *, clock: Clock, agreement_min: float = AGREEMENT_MIN) -> None:
        """`agreement_min`: the share of answers that a form must leave as they are."""
        self.forms: dict[str, dict[str, Form]] = {}
        self.agreement_min = agreement_min
        self._runtime = runtime
        self._clock = clock
        self._seen: dict[str, int] = {}
        self._digests: dict[str, str] = {}
        self._trying: asyncio.Task[None] | None = None
        self._room = asyncio.Semaphore(PACKS_MAX)

    def crossings(self, request: InferRequest, model: Model, size_bytes: float, *, lossy: bool) -> tuple[Crossing, ...]:
        """The ways in which a request may cross, the first being as it came; `lossy`: an answer may change."""
        as_it_came = Crossing(size_bytes)
        found = packable(request, model)
        if not found.units:
            return (as_it_came,)
        offered = [as_it_came]
        for form in self._forms(model, found):
            if form.known and (form.lossless or (lossy and form.fits)):
                size, ms = found.units * form.bytes_per_unit, found.units * form.ms_per_unit
                offered.append(Crossing(size, form.name, ms, opened=form.name == ZSTD))
        return tuple(offered)

    async def packed(self, request: InferRequest, model: Model, codec: str) -> tuple[InferRequest, str]:
        """The request with its input in a form; as it came, with codec "", where that does not fit or is no smaller.

        `model` is the one here that the request was for.
        """
        smaller = await self._pack(request, model, codec)
        was_bytes = _size(request)
        if smaller is None or len(smaller) >= was_bytes:
            return request, ""
        form = self._form(model, codec)
        form.packed += 1
        form.saved_bytes += was_bytes - len(smaller)
        return (_opening(request, model, smaller) if codec == ZSTD else _showing(request, smaller)), codec

    def ended(self, turn: Turn) -> None:
        """A request was answered: where something is to be found out of its input, that begins now, beside others."""
        if self._trying is not None:
            return
        found = packable(turn.request, turn.model)
        opened = ZSTD in found.forms
        if not found.units or not any(peer.reads_packed(turn.target, opened=opened) for peer in turn.peers):
            return
        name = turn.model.name
        self._seen[name] = self._seen.get(name, 0) + 1
        forms = self._forms(turn.model, found)
        judged = any(spec.name == "label" for spec in turn.expects)
        if turn.cascade is not None or self.agreement_min >= 1.0 or not judged:
            forms = [form for form in forms if form.lossless]
        if self._seen[name] % LOOK_EVERY:
            forms = [form for form in forms if not form.decided]
        if forms:
            # In a context of its own: it is no part of the request's trace.
            self._trying = asyncio.get_running_loop().create_task(self._try(turn, forms), context=Context())
            self._trying.add_done_callback(self._tried)

    async def settled(self) -> None:
        """Returns when nothing is being tried."""
        while self._trying is not None:
            await asyncio.gather(self._trying, return_exceptions=True)

    async def close(self) -> None:
        """Gives up on what is being tried."""
        if self._trying is not None:
            self._trying.cancel()
            await self.settled()

    def all_forms(self) -> Iterator[tuple[str, Form]]:
        """Every form of every model, for the metrics."""
        for model, forms in sorted(self.forms.items()):
            for _, form in sorted(forms.items()):
                yield model, form

    def _forms(self, model: Model, found: Packable) -> list[Form]:
        return [self._form(model, name) for name in found.forms]

    def _form(self, model: Model, name: str) -> Form:
        forms = self.forms.setdefault(model.name, {})
        if self._digests.get(model.name) != model.digest:
            self._digests[model.name] = model.digest
            for form in forms.values():
                form.forget()
        known = forms.get(name)
        if known is None:
            known = forms[name] = Form(name, 1.0 - self.agreement_min)
        return known

    async def _try(self, turn: Turn, forms: list[Form]) -> None:
        """Packs one input into some forms and, for those that lose something, asks the model here about both."""
        request, true = replace(turn.request, outputs=(), parameters={}, budget_ms=None), None
        for form in forms:
            if not form.lossless and not self._runtime.spare(request):
                return
            smaller = await self._pack(request, turn.model, form.name)
            if smaller is None or form.lossless:
                continue
            true = true or await self._ask(request)
            form.tried(otherwise=differs(true, await self._ask(_showing(request, smaller))))

    def _tried(self, task: asyncio.Task[None]) -> None:
        self._trying = None
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, LittoralError):  # one of ours: no room, no time, no picture
            _LOG.warning("An input could not be tried in another form.", reason=repr(error)[:300])

    async def _ask(self, request: InferRequest) -> InferAnswer:
        begun = self._runtime.begin(request)
        return begun if isinstance(begun, InferAnswer) else await begun

    async def _pack(self, request: InferRequest, model: Model, codec: str) -> bytes | None:
        """The input in a form, off the loop; None where it does not fit. What it took is learnt."""
        units, array = packable(request, model).units, request.inputs[0].array
        started_s = self._clock.monotonic_s()
        try:
            async with self._room:
                smaller = await asyncio.to_thread(_smaller, array, codec)
        except LittoralError:  # a picture that is no sound one is told by who answers it
            return None
        self._form(model, codec).took(units, len(smaller), (self._clock.monotonic_s() - started_s) * 1e3)
        return smaller


def packable(request: InferRequest, model: Model) -> Packable:
    """What of a request could cross smaller: a picture stored without loss, or one tensor of some size."""
    if shows(request, model):
        picture = _picture(request.inputs[0].array)
        forms = forms_for(picture)
        return Packable(raw_pixels(picture), forms) if forms else Packable(0)
    if len(request.inputs) != 1 or len(model.inputs) != 1 or request.inputs[0].datatype == "BYTES":
        return Packable(0)
    array, spec = request.inputs[0].array, model.inputs[0]
    fits = array.nbytes >= TENSOR_BYTES_MIN and array.shape[0] <= ROWS_MAX and min(spec.shape[1:], default=1) > 0
    return Packable(array.nbytes, (ZSTD,)) if fits else Packable(0)


def _smaller(array: Array, codec: str) -> bytes:
    return pack(array, codec) if codec == ZSTD else recode(_picture(array), codec)


def _size(request: InferRequest) -> int:
    array = request.inputs[0].array
    return len(_picture(array)) if request.inputs[0].datatype == "BYTES" else array.nbytes


def _picture(array: Array) -> bytes:
    picture: bytes = array.reshape(-1)[0]
    return picture


def _showing(request: InferRequest, picture: bytes) -> InferRequest:
    return replace(request, inputs=(Tensor(IMAGE.name, IMAGE.datatype, bytes_array([picture])),))


def _opening(request: InferRequest, model: Model, packed: bytes) -> InferRequest:
    """The same request as one that begins at the model's input."""
    parameters = {**request.parameters, BLOCK: INPUT, DIGEST: model.digest}
    return replace(request, inputs=(Tensor(ACTIVATION, "BYTES", bytes_array([packed])),), parameters=parameters)


def _middle(values: deque[float]) -> float:
    return sorted(values)[len(values) // 2]
