"""Whether what each model sees and says is still like what it was calibrated on; measured off the requests' path.

Of a picture its brightness, contrast and detail are compared, of other inputs mean and spread; of answers the best
score, or mean and spread of the first output. A model whose calibration tells no distributions is compared with the
first answers that it gave here. docs/drift.md says what that can and cannot find.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from littoral.core.errors import LittoralError
from littoral.core.tensor import Array
from littoral.model.model import Model
from littoral.model.tasks.detect import Detect
from littoral.model.tasks.look import look_of
from littoral.monitor.drift import Drift, Reference
from littoral.monitor.log import log_of
from littoral.monitor.meters import Family
from littoral.runtime.aside import Aside, Taken
from littoral.runtime.runtime import Runtime

_LOG = log_of("runtime.drifting")
LOOK_S = 1.0
EVERY_S = 1.0
CALIBRATION, FIRST_ANSWERS = "calibration", "first answers"
_SHARE_MAX = 0.01  # of one core, for all that is measured here

References = Mapping[str, Reference]


def picture_values(image: bytes, score: float | None, model: Model) -> dict[str, float]:
    """What is compared of a picture and its best score; raises `Invalid` for what is no picture.

    A detector's score below its usual threshold is no find, whatever the caller asked for.
    """
    look = look_of(image)
    values = {"brightness": look.brightness, "contrast": look.contrast, "detail": look.detail}
    if score is not None:
        found = not isinstance(model.task, Detect) or score >= model.task.threshold
        values["score"] = score if found else 0.0
    return values


def values_of(taken: Taken, model: Model) -> dict[str, float]:
    """What is compared of one call; nothing of a picture that cannot be read."""
    if taken.image is not None:
        try:
            return picture_values(taken.image, taken.score, model)
        except LittoralError:
            return {}
    values = _moments("input", taken.given)
    return values | (_moments("output", taken.answered) if taken.score is None else {"score": taken.score})


class ModelDrift:
    """One version of one model: a comparison for each kind of value. `reference` says with what."""

    def __init__(self, model: Model, references: References | None) -> None:
        self.model = model
        self.reference = CALIBRATION if references else FIRST_ANSWERS
        self.samples = 0
        self._drifts = {name: Drift(reference) for name, reference in (references or {}).items()}
        self._fixed = bool(references)

    def add(self, values: Mapping[str, float]) -> None:
        """One call more."""
        self.samples += 1
        for name, value in values.items():
            drift = self._drifts.get(name)
            if drift is None:
                if self._fixed and self._compares_any(values):
                    continue  # the calibration was of pictures, and says nothing of this
                drift = self._drifts[name] = Drift()
            drift.add(value)

    def judge(self) -> bool:
        """Judges anew; whether another kind of value drifts than before."""
        before = self.drifted
        for drift in self._drifts.values():
            drift.judge()
        return self.drifted != before

    @property
    def drifted(self) -> dict[str, str]:
        """Which kinds of value have drifted, and where to: `lower`, `higher` or `otherwise`."""
        return {name: drift.direction() for name, drift in self._drifts.items() if drift.drifted}

    @property
    def index(self) -> dict[str, float]:
        """The stability index of each kind that can be judged by now."""
        found = {name: drift.index() for name, drift in self._drifts.items()}
        return {name: round(index, 4) for name, index in found.items() if index is not None}

    def told(self) -> dict[str, Any]:
        """As plain values, for telemetry."""
        return {
            "model": self.model.name,
            "version": self.model.version,
            "reference": self.reference,
            "samples": self.samples,
            "index": self.index,
            "drifted": self.drifted,
        }

    def _compares_any(self, values: Mapping[str, float]) -> bool:
        return any(name in self._drifts for name in values)


class Drifting:
    """Watches every model that a runtime serves; used from the runtime's loop. `run` lasts until it is cancelled."""

    def __init__(
        self, runtime: Runtime, references: Callable[[Model], References | None], *, every_s: float = EVERY_S
    ) -> None:
        """`references` finds what a model's calibration saw; one call in `every_s` seconds is looked at."""
        self._runtime = runtime
        self._references = references
        self._every_s = every_s
        self._watched: dict[tuple[str, str], tuple[Aside, ModelDrift]] = {}

    async def run(self) -> None:
        """Again and again, and less often where measuring takes long."""
        while True:
            begun_s = time.monotonic()
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the task must live on: watching stops no request
                _LOG.warning("Drift cannot be measured.", reason=repr(error)[:300])
            await asyncio.sleep(max(LOOK_S, (time.monotonic() - begun_s) / _SHARE_MAX))

    async def look(self) -> None:
        """Takes in what was kept since the last look, and judges."""
        await self._follow()
        for aside, drift in list(self._watched.values()):
            taken = aside.take()
            if not taken:
                continue
            for values in await asyncio.to_thread(_measured, taken, drift.model):
                drift.add(values)
            if drift.judge():
                _say(drift)

    def told(self) -> list[dict[str, Any]]:
        """Every watched model, as plain values."""
        return [drift.told() for _, (_, drift) in sorted(self._watched.items())]

    def families(self) -> Iterator[Family]:
        """As metrics."""
        return drift_families([drift for _, (_, drift) in sorted(self._watched.items())])

    async def _follow(self) -> None:
        """Watches what is served now, and forgets what is not."""
        served = {key: self._runtime.find(*key) for key in self._runtime.states() if self._runtime.is_ready(*key)}
        for gone in self._watched.keys() - served.keys():
            del self._watched[gone]
        for key, one in served.items():
            known = self._watched.get(key)
            if known is None or known[0] is not one.aside:
                found = await asyncio.to_thread(self._references, one.model)
                self._watched[key] = one.aside, ModelDrift(one.model, found)
                one.aside.open(self._every_s)


def drift_families(watched: Sequence[ModelDrift]) -> Iterator[Family]:
    """The metrics of some models."""
    named = [((one.model.name, one.model.version), one) for one in watched]
    labels = ("model", "version")
    indices = [((*key, kind), index) for key, one in named for kind, index in one.index.items()]
    drifted = [(key, float(bool(one.drifted))) for key, one in named]
    against = [((*key, one.reference), 1.0) for key, one in named]
    seen = [(key, float(one.samples)) for key, one in named]
    yield Family("drift_index", "Stability index of a kind of value, less chance.", (*labels, "value"), indices)
    yield Family("drifted", "1 while what the model sees or says has drifted.", labels, drifted)
    yield Family("drift_reference", "1 for what it is compared with.", (*labels, "reference"), against)
    yield Family("drift_samples", "Calls that were compared.", labels, seen, counts=True)


def _measured(taken: list[Taken], model: Model) -> list[dict[str, float]]:
    return [values for one in taken if (values := values_of(one, model))]


def _moments(name: str, numbers: Array | None) -> dict[str, float]:
    if numbers is None:
        return {}
    wide = numbers.astype(np.float64)
    return {f"{name} mean": float(wide.mean()), f"{name} spread": float(wide.std())}


def _say(drift: ModelDrift) -> None:
    model, drifted = drift.model, drift.drifted
    if not drifted:
        _LOG.info("What the model sees and says is like before again.", model=model.name, version=model.version)
        return
    kinds = ", ".join(f"{name} {direction}" for name, direction in drifted.items())
    _LOG.warning(
        "What the model sees or says has drifted. Look at the camera; if the change stays: littoral calibrate",
        model=model.name,
        version=model.version,
        drifted=kinds,
        against=drift.reference,
    )
