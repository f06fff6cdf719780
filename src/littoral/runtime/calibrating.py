"""Calibrates a cascade: runs both models over pictures, learns the gate and picks what keeps the promise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import msgspec
import numpy as np

from littoral.core.errors import Corrupt, Invalid, Unavailable
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.model.files import write_whole
from littoral.model.model import Model
from littoral.model.repository import ModelSource
from littoral.monitor.drift import REFERENCE_SAMPLES_MIN, Reference, reference_of
from littoral.plan.cascade import Calibration, CurvePoint, Gate, binomial_upper, calibrate
from littoral.runtime.cascading import differs, features_of, for_gate
from littoral.runtime.drifting import picture_values

FORMAT = 1
FEATURES = 4  # that the gate looks at
FILE_NAME = "cascade.json"


class CascadeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `calibrate` stores beside the little model. A threshold of null escalates everything.

    `differ_max` is the share of all requests whose kept answers differ from the big model's, at most: what audits see
    is difference, which with labels is more than loss, for the big model is not always right. `references` are the
    distributions of what the pictures looked like and of the little model's scores, for who watches for drift.
    """

    format: int
    little_digest: str
    big: str
    big_digest: str
    weights: list[float]
    centre: list[float]
    spread: list[float]
    points: list[tuple[float | None, float, float, float]]
    loss_max: float
    confidence: float
    samples: int
    little_accuracy: float
    big_accuracy: float
    labelled: bool
    differ_max: float | None = None
    references: dict[str, Reference] | None = None

    def calibration(self) -> Calibration:
        """The values again."""
        gate = Gate(tuple(self.weights), tuple(self.centre), tuple(self.spread))
        points = tuple(
            CurvePoint(float("inf") if threshold is None else threshold, rate, loss, upper)
            for threshold, rate, loss, upper in self.points
        )
        return Calibration(gate, points, self.loss_max, self.confidence, self.samples)


@dataclass(frozen=True, slots=True)
class Judged:
    """What both models say of the pictures: the gate's features [n, k]; where each is right, where they differ [n].

    `values`: what each picture looked like, and the little model's best score.
    """

    features: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    little_right: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    big_right: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    differ: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    values: tuple[dict[str, float], ...] = ()


def judge(
    little: Model,
    big: Model,
    pictures: Iterable[bytes],
    labels: Sequence[str] | None,
    *,
    step: Callable[[], None] = lambda: None,
) -> Judged:
    """Runs both over all pictures. Without labels the big model's answer is the truth.

    Raises `Invalid` (`cascade_impossible`) for models without a picture task or of different kinds, and what a picture
    raises.
    """
    kinds = {model.task.kind if model.task else "tensor" for model in (little, big)}
    if kinds not in ({"classify"}, {"detect"}):
        raise Invalid("cascade_impossible", "A cascade needs two classifiers or two detectors.")
    if labels is not None and kinds != {"classify"}:
        raise Invalid("cascade_impossible", "Labels are for classifiers. For detectors the big model is the truth.")
    features, little_right, big_right, differ, values = [], [], [], [], []
    for number, picture in enumerate(pictures):
        first, second = _ask(little, picture), _ask(big, picture)
        features.append(features_of(first, little)[0])
        scores = first.output("score").array
        values.append(picture_values(picture, float(scores.max()) if scores.size else 0.0, little))
        differ.append(differs(first, second))
        if labels is None:
            little_right.append(not differ[-1])
            big_right.append(True)
        else:
            truth = labels[number].encode()
            little_right.append(_best(first) == truth)
            big_right.append(_best(second) == truth)
        step()
    if not features:
        raise Invalid("samples_too_few", "There is no picture to calibrate on.")
    return Judged(np.stack(features), np.array(little_right), np.array(big_right), np.array(differ), tuple(values))


def calibrate_cascade(
    little: Model, big: Model, judged: Judged, *, loss_max: float, confidence: float, labelled: bool
) -> CascadeFile:
    """The gate and the thresholds that keep the promise; raises what `plan.cascade.calibrate` raises."""
    found = calibrate(
        judged.features, judged.big_right & ~judged.little_right, loss_max=loss_max, confidence=confidence
    )
    answered = found.gate.confidence(judged.features) >= found.cheapest.threshold
    seen = int((answered & judged.differ).sum())
    return CascadeFile(
        format=FORMAT,
        little_digest=little.digest,
        big=big.name,
        big_digest=big.digest,
        weights=list(found.gate.weights),
        centre=list(found.gate.centre),
        spread=list(found.gate.spread),
        points=[
            (
                None if point.threshold == float("inf") else point.threshold,
                point.pass_rate,
                point.loss,
                point.loss_upper,
            )
            for point in found.points
        ],
        loss_max=loss_max,
        confidence=confidence,
        samples=found.samples,
        little_accuracy=float(judged.little_right.mean()),
        big_accuracy=float(judged.big_right.mean()),
        labelled=labelled,
        differ_max=max(loss_max, binomial_upper(seen, len(answered), 1 - confidence)),
        references=_references(judged),
    )


def save_cascade(cascade: CascadeFile, path: Path) -> None:
    """Writes the file, whole or not at all; `Unavailable` (`file_unwritable`)."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(cascade), indent=1))


def read_cascade(path: Path) -> CascadeFile:
    """The file again; `Corrupt` (`cascade_wrong`) where it is damaged or of another format."""
    try:
        cascade = msgspec.json.decode(path.read_bytes(), type=CascadeFile)
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Corrupt("cascade_wrong", f"{path}: {error}. Run: littoral calibrate", path=str(path)) from error
    if cascade.format != FORMAT or not _sound(cascade):
        raise Corrupt("cascade_wrong", f"{path} is of another format. Run: littoral calibrate", path=str(path))
    return cascade


def beside(source: ModelSource) -> Path:
    """Where the calibration of a model lies, if it has one."""
    folder = source.manifest_path.parent if source.manifest_path is not None else source.path.parent
    return folder / FILE_NAME


def _references(judged: Judged) -> dict[str, Reference] | None:
    """The distributions; None of so few pictures that chance would look like drift."""
    if len(judged.values) < REFERENCE_SAMPLES_MIN:
        return None
    return {name: reference_of([values[name] for values in judged.values]) for name in judged.values[0]}


def _sound(cascade: CascadeFile) -> bool:
    """Whether the numbers can be a gate with its curve."""
    count = len(cascade.centre)
    shares = [share for _, *rest in cascade.points for share in rest]
    shares += [cascade.loss_max, cascade.confidence, cascade.differ_max or 0.0]
    return (
        bool(cascade.points)
        and count == FEATURES
        and len(cascade.spread) == count
        and len(cascade.weights) == count + 1
        and all(isfinite(number) for number in (*cascade.weights, *cascade.centre))
        and all(isfinite(number) and number > 0 for number in cascade.spread)
        and all(0.0 <= share <= 1.0 for share in shares)
        and all(reference.sound for reference in (cascade.references or {}).values())
    )


def _ask(model: Model, picture: bytes) -> InferAnswer:
    """One picture through a model in this process, with every score."""
    request = InferRequest(model.name, (Tensor("image", "BYTES", bytes_array([picture])),))
    request = for_gate(request, model)
    outputs = model.run(model.check(request), request.parameters)
    return InferAnswer(model.name, model.version, outputs)


def best_label(model: Model, picture: bytes) -> str:
    """What a classifier in this process says of a picture; "" where it says nothing."""
    return _best(_ask(model, picture)).decode("utf-8", "replace")


def _best(answer: InferAnswer) -> bytes:
    labels = answer.output("label").array
    return labels[0] if labels.size else b""
