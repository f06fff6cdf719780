"""The task `detect`: where which objects are, best first, in pixels of the picture that was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from littoral.core.errors import Invalid
from littoral.core.request import Parameters
from littoral.core.tensor import Array, Tensor, TensorSpec
from littoral.model.engine import Quantization
from littoral.model.manifest import Manifest
from littoral.model.tasks.heads import HEADS
from littoral.model.tasks.heads.head import Candidates, Head, Signature
from littoral.model.tasks.intake import Intake
from littoral.model.tasks.labels import Labels, build_labels
from littoral.model.tasks.nms import suppress
from littoral.model.tasks.parameters import fraction, whole_number
from littoral.model.tasks.task import Frame, Prepared

THRESHOLD = 0.25  # The least score of a box where neither the request nor the manifest gives one.
BOX_COUNT_MAX = 1000  # An answer never has more boxes, whatever the request asks for.
CANDIDATE_COUNT_MAX = 2000  # So many of the best boxes are compared with each other; it bounds the time.

_OUTPUTS = (
    TensorSpec("box", "FP32", (-1, 4)),
    TensorSpec("score", "FP32", (-1,)),
    TensorSpec("label", "BYTES", (-1,)),
    TensorSpec("class_id", "INT64", (-1,)),
)


@dataclass(frozen=True, slots=True)
class Detect:
    """A head that finds candidates, and the rules that pick from them."""

    intake: Intake
    head: Head
    labels: Labels
    threshold: float
    iou: float
    box_count_max: int

    @property
    def kind(self) -> str:
        return "detect"

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return _OUTPUTS

    def prepare(self, image: bytes) -> Prepared:
        return self.intake.prepare(image)

    def finish(self, arrays: Sequence[Array], frame: Frame, parameters: Parameters) -> tuple[Tensor, ...]:
        """`box` [n, 4] (x1, y1, x2, y2 in source pixels), `score`, `label` and `class_id` [n]; n may be 0."""
        threshold = fraction(parameters, "threshold", self.threshold)
        iou = 1.0 if self.head.suppressed else fraction(parameters, "iou", self.iou)
        count = whole_number(parameters, "box_count_max", self.box_count_max, greatest=BOX_COUNT_MAX)
        # A model may give out infinities; what comes of them is dropped below, not warned of.
        with np.errstate(over="ignore", invalid="ignore"):
            found = _sound(self.head.candidates(arrays, threshold), threshold)
            kept = suppress(found.boxes, found.scores, found.classes, iou=iou, count_max=count)
            boxes = frame.to_source(found.boxes[kept]).astype(np.float32, copy=False)
        seen = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        classes = found.classes[kept][seen]
        return (
            Tensor("box", "FP32", boxes[seen]),
            Tensor("score", "FP32", found.scores[kept][seen].astype(np.float32, copy=False)),
            Tensor("label", "BYTES", self.labels.texts(classes)),
            Tensor("class_id", "INT64", self.labels.ids(classes)),
        )


def _sound(found: Candidates, threshold: float) -> Candidates:
    """The best candidates up to a bound, without those below the threshold or nowhere (NaN or infinite)."""
    places = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores) & (found.scores >= threshold)
    kept = np.flatnonzero(places)
    if kept.size > CANDIDATE_COUNT_MAX:
        kept = kept[np.argsort(-found.scores[kept], kind="stable")[:CANDIDATE_COUNT_MAX]]
    return Candidates(found.boxes[kept], found.scores[kept], found.classes[kept])


def build_detect(
    manifest: Manifest, intake: Intake, outputs: tuple[TensorSpec, ...], quantization: Mapping[str, Quantization]
) -> Detect:
    """The task for a model's outputs; `Invalid` (`signature_unusable`, `manifest_wrong`) says what would fit."""
    section = manifest.output
    build = HEADS.get(section.head or "")
    if build is None:
        raise Invalid("manifest_wrong", f'`task = "detect"` needs `[output] head`: one of {", ".join(HEADS)}.')
    signature = Signature(
        width=intake.width,
        height=intake.height,
        planar=intake.planar,
        outputs=outputs,
        quantization=tuple(quantization.get(spec.name) for spec in outputs),
        section=section,
        class_count=len(manifest.labels) or None,
    )
    if not outputs:
        raise signature.unusable("an output")
    labels = build_labels(manifest.labels, offset=section.label_offset, place_count=None)
    threshold = THRESHOLD if section.threshold is None else section.threshold
    return Detect(intake, build(signature), labels, threshold, section.iou, section.box_count_max)
