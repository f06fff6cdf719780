"""A model's manifest, `model.toml`: what the numbers mean and how the model wants to be run."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from littoral.core.errors import Invalid, Unavailable
from littoral.core.tensor import DATATYPES

TaskKind = Literal["classify", "detect", "anomaly", "tensor"]
Layout = Literal["NCHW", "NHWC"]
Colour = Literal["RGB", "BGR"]
Resize = Literal["squash", "crop", "letterbox", "letterbox-top-left"]
Score = Literal["logits", "probabilities"]
Head = Literal["yolox", "yolov5", "yolov8", "ssd", "nanodet"]
BoxUnit = Literal["pixels", "fraction"]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the manifest; a key it does not know is an error, so that a typing slip never passes unseen."""


class InputSection(_Section, frozen=True):
    """`[input]`: how a picture becomes the input tensor.

    `size` is (height, width) in pixels. `mean` and `std` are in 0..255 units, one per channel or one for all:
    (x - mean) / std. `pad` is the letterbox's grey level. `crop_fraction` belongs to `resize = "crop"`: the short side
    becomes size / crop_fraction, then the centre is cut out. `antialias`: whether shrinking averages, as Pillow and
    torchvision do, or reads the nearest pixels, as OpenCV and TensorFlow do; take what the training did.
    """

    size: tuple[int, int] | None = None
    layout: Layout | None = None
    colour: Colour = "RGB"
    resize: Resize = "squash"
    crop_fraction: float = 0.875
    antialias: bool = False
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    pad: int = 114


class OutputSection(_Section, frozen=True):
    """`[output]`: how the model's outputs are read.

    `score`: what a classifier gives out. `label_offset`: class id = output index - offset. `top_k`: how many classes an
    answer names. `head`: a detector's family. `threshold`: the least score of a box, or the reconstruction error from
    which on an input is an anomaly. `iou`: boxes of one class that overlap more are one object. `box_unit`: whether
    YOLOv5 and YOLOv8 boxes are in pixels of the input or in fractions of it (default: fractions for NHWC inputs).
    """

    score: Score = "logits"
    label_offset: int = 0
    top_k: int = 5
    head: Head | None = None
    threshold: float | None = None
    iou: float = 0.5
    box_count_max: int = 100
    strides: tuple[int, ...] = (8, 16, 32)
    box_unit: BoxUnit | None = None


class TensorSection(_Section, frozen=True):
    """`[[signature.inputs]]`, `[[signature.outputs]]`: one tensor; a size of -1 is free."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class SignatureSection(_Section, frozen=True):
    """`[signature]`: the tensors of a file that does not name them itself (TorchScript). Outputs may be left out."""

    inputs: tuple[TensorSection, ...]
    outputs: tuple[TensorSection, ...] = ()


class QualitySection(_Section, frozen=True):
    """`[quality]`: what was measured, on how much, and where it comes from."""

    metric: str
    value: float
    samples: int | None = None
    source: str = ""


class CascadeSection(_Section, frozen=True):
    """`[cascade]`: the bigger model that a doubtful answer escalates to."""

    big: str


class RunSection(_Section, frozen=True):
    """`[run]`: how the engine runs the model.

    `threads`: intra-operator threads of one run. `workers`: runs at a time (default: as many as fit the cores).
    `queue_length_max`: requests that may wait. `deadline_ms`: the budget of a request that names none.
    `batch_size_max`: 1 switches batching off, None lets the measurement decide. `cache_bytes_max`: 0 is no
    result cache.
    """

    providers: list[str] = []
    settings: dict[str, str] = {}
    threads: int = 1
    workers: int | None = None
    queue_length_max: int = 256
    deadline_ms: float = 30_000.0
    batch_size_max: int | None = None
    cache_bytes_max: int = 0


class Manifest(_Section, frozen=True):
    """The whole manifest; every part is optional."""

    task: TaskKind = "tensor"
    description: str = ""
    labels: list[str] = []
    labels_file: str | None = None
    versions: Literal["latest", "all"] = "latest"
    input: InputSection = InputSection()
    output: OutputSection = OutputSection()
    signature: SignatureSection | None = None
    quality: QualitySection | None = None
    cascade: CascadeSection | None = None
    run: RunSection = RunSection()


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file, with `labels` filled from `labels_file`; `Invalid` (`manifest_wrong`) names file, key."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        manifest = msgspec.convert(table, Manifest)
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise Invalid(
            "manifest_wrong", f"{path}: {error}. Mend the manifest and load again.", path=str(path)
        ) from error
    _check(manifest, path)
    if manifest.labels_file is not None:
        labels = _read_labels(path.parent, manifest.labels_file, path)
        manifest = msgspec.structs.replace(manifest, labels=labels)
    return manifest


def _check(manifest: Manifest, path: Path) -> None:
    """What types alone cannot say."""
    wrong = ""
    taken = manifest.input
    if manifest.labels and manifest.labels_file is not None:
        wrong = "give either `labels` or `labels_file`, not both"
    elif manifest.task == "detect" and manifest.output.head is None:
        wrong = '`task = "detect"` needs `[output] head`: yolox, yolov5, yolov8, ssd or nanodet'
    elif taken.size is not None and min(taken.size) < 1:
        wrong = "`[input] size` must be two whole numbers from 1"
    elif not 0.1 <= taken.crop_fraction <= 1.0:
        wrong = "`[input] crop_fraction` must lie between 0.1 and 1"
    elif len(taken.mean) not in (1, 3) or len(taken.std) not in (1, 3):
        wrong = "`[input] mean` and `std` take one or three numbers"
    elif any(value == 0 for value in taken.std):
        wrong = "`[input] std` must not be zero"
    elif not 0 <= taken.pad <= 255:
        wrong = "`[input] pad` must lie between 0 and 255"
    elif manifest.output.top_k < 1 or manifest.output.box_count_max < 1 or not 0 <= manifest.output.iou <= 1:
        wrong = "`[output] top_k` and `box_count_max` must be at least 1, and `iou` between 0 and 1"
    elif not manifest.output.strides or min(manifest.output.strides) < 1:
        wrong = "`[output] strides` must be whole numbers from 1"
    elif manifest.run.threads < 1 or manifest.run.queue_length_max < 1 or manifest.run.deadline_ms <= 0:
        wrong = "`[run] threads`, `queue_length_max` and `deadline_ms` must be above zero"
    if manifest.signature is not None and not wrong:
        wrong = _signature_wrong(manifest.signature)
    if wrong:
        raise Invalid("manifest_wrong", f"{path}: {wrong}.", path=str(path))


def _signature_wrong(signature: SignatureSection) -> str:
    for tensor in signature.inputs + signature.outputs:
        if tensor.datatype not in DATATYPES or not tensor.name or any(size < -1 for size in tensor.shape):
            return (
                f"`[signature]` tensor {tensor.name!r} needs a name, sizes from -1, and a datatype of "
                f"{', '.join(DATATYPES)}"
            )
    return ""


def _read_labels(folder: Path, name: str, manifest_path: Path) -> list[str]:
    """One label a line, from a file beside the manifest (a path that leaves the folder is refused)."""
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise Invalid("manifest_wrong", f"{manifest_path}: `labels_file` must lie beside the manifest.", path=name)
    try:
        return [line.strip() for line in target.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            "manifest_wrong", f"{manifest_path}: `labels_file` {name!r} cannot be read.", path=name
        ) from error
