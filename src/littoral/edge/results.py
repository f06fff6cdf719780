"""What a site tells of its answers: one event for each, or for a share of them, and for each correction.

The event is small JSON: which request, which model, what came out and how it came to be. It is stored beside the answer
and costs the request nothing; where a site is told that answers are `durable`, the answer waits until its event is on
the disk, and fails where that is impossible: then whatever a caller was told is known to the hub in the end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Protocol

import msgspec

from littoral.core.errors import LittoralError
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor
from littoral.edge.samples import EXPLAIN, EXPLANATION, Samples
from littoral.monitor.log import log_of
from littoral.serve.rest_predict import FIELDS, predicted

_LOG = log_of("edge.results")
RESULT, RESULT_KIND, CORRECTION_KIND = "result", "inference", "correction"
OUTPUT_BYTES_MAX = 4096
DEVICES_MAX = 64


class Submit(Protocol):
    """Hands events (stream, kind, body) over to be stored; for each, its key or why it was refused."""

    def __call__(self, events: Iterable[tuple[str, str, bytes]]) -> Future[list[Any]]: ...


@dataclass(slots=True)
class ResultCounts:
    """How many events were handed over, and how many of them were not stored."""

    told: int = 0
    refused: int = 0


class Results:
    """Makes events of answers; used from the event loop of the data plane."""

    def __init__(
        self,
        submit: Submit,
        *,
        share: float = 1.0,
        durable: bool = False,
        chance: Random | None = None,
        samples: Samples | None = None,
    ) -> None:
        """`share` of the answers, from 0 to 1, are told; where they are `durable` all are."""
        self._submit = submit
        self.share = share
        self._durable = durable
        self._random: Callable[[], float] = (chance or Random()).random
        self._samples = samples
        self._devices: Counter[str] = Counter()
        self.counts = ResultCounts()

    def begins(self, request: InferRequest) -> InferRequest:
        """Now and then a request is asked to explain where it runs."""
        return request if self._samples is None else self._samples.begins(request)

    def ends(
        self, request: InferRequest, answer: InferAnswer, took_ms: float
    ) -> tuple[InferAnswer, asyncio.Future[Any] | None]:
        """One answer, before its caller has it; where there is a future it must be awaited before."""
        device, named, _ = request.id.partition("/")
        if named and (device in self._devices or len(self._devices) < DEVICES_MAX):
            self._devices[device[:64]] += 1
        more: dict[str, Any] = {"latency_ms": round(took_ms, 3)}
        if request.budget_ms is not None:
            more["deadline_ms"] = request.budget_ms
        told = answer
        explained = EXPLANATION in answer.parameters and request.parameters.get(EXPLAIN) is not True
        if explained:
            answer = _unexplained(answer)
            if self._samples is not None:
                more |= self._samples.shown(request)
        if not explained and not self._durable and self.share < 1.0 and self._random() >= self.share:
            return answer, None
        stored = self._tell(RESULT_KIND, told, request.id, more)
        return answer, asyncio.ensure_future(_stored(stored)) if self._durable else None

    def take_devices(self) -> dict[str, int]:
        """How many requests came from each device since this was asked last; a request's id may begin `DEVICE/`."""
        devices, self._devices = self._devices, Counter(dict.fromkeys(self._devices, 0))
        return dict(devices)

    def correct(self, answer: InferAnswer) -> None:
        """A late answer of an upstream; it corrects what was told under the same id."""
        self._tell(CORRECTION_KIND, answer, answer.id, {})

    def _tell(self, kind: str, answer: InferAnswer, request_id: str, more: Mapping[str, Any]) -> Future[list[Any]]:
        self.counts.told += 1
        try:
            stored = self._submit([(RESULT, kind, body_of(answer, request_id, more))])
        except LittoralError as error:  # too much waits for the disk already
            stored = Future()
            stored.set_result([error])
        stored.add_done_callback(self._heard)
        return stored

    def _heard(self, stored: Future[list[Any]]) -> None:
        error = stored.exception() or next((it for it in stored.result() if isinstance(it, LittoralError)), None)
        if error is not None:
            self.counts.refused += 1
            if self.counts.refused & (self.counts.refused - 1) == 0:  # the 1st, 2nd, 4th, 8th, …
                _LOG.warning("Answers are not recorded.", refused=self.counts.refused, reason=str(error)[:300])


async def _stored(stored: Future[list[Any]]) -> None:
    for one in await asyncio.wrap_future(stored):
        if isinstance(one, LittoralError):
            raise one


def body_of(answer: InferAnswer, request_id: str, more: Mapping[str, Any]) -> bytes:
    """An answer as the JSON of an event: predictions of a task, other outputs where they are small, and `more`."""
    told: dict[str, Any] = {"id": request_id, **predicted(answer), **more}
    if not told["predictions"]:
        del told["predictions"]
    others = [tensor for tensor in answer.outputs if tensor.name not in FIELDS or "predictions" not in told]
    if sum(map(_weight, others)) <= OUTPUT_BYTES_MAX:
        told["outputs"] = {tensor.name: _plain(tensor) for tensor in others}
    return msgspec.json.encode(told)


def _unexplained(answer: InferAnswer) -> InferAnswer:
    """Without the reasons that its caller did not ask for."""
    parameters = {name: value for name, value in answer.parameters.items() if name != EXPLANATION}
    return replace(answer, parameters=parameters)


def _weight(tensor: Tensor) -> int:
    return sum(map(len, tensor.array.ravel())) if tensor.datatype == "BYTES" else tensor.array.nbytes


def _plain(tensor: Tensor) -> Any:
    if tensor.datatype == "BYTES":
        return [element.decode("utf-8", "replace") for element in tensor.array.ravel()]
    return tensor.array.tolist()
