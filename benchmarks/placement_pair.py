"""The pair of classifiers and the labelled pictures that the placement benchmarks run on.

MobileNetV1 0.5 (little) and MobileNetV2 (big), both uint8, and 500 pictures, all from `$LITTORAL_DATA`. Both models see
every picture; times, answers and truths are kept, so that a replay needs to run nothing again.
"""

from __future__ import annotations

import csv
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.model.model import Model
from littoral.model.opening import open_model
from littoral.model.repository import Repository
from littoral.runtime.cascading import features_of

ROOT = Path(__file__).resolve().parent.parent
MANIFESTS = ROOT / "tests" / "contract" / "manifests"
LITTLE, BIG = "little", "big"
HICCUP = 1.5
ALL = {"top_k": 1000}  # every score, as a gate wants them
FILES = {
    LITTLE: ("mobilenet_v1_half_uint8", "classifiers/mobilenet_v1_0.5_160_quant.tflite"),
    BIG: ("mobilenet_v2_uint8", "classifiers/mobilenet_v2_1.0_224_quant.tflite"),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One model's answer to one picture, with every score, and the least time that it took of a few runs."""

    outputs: tuple[Tensor, ...]
    ms: float

    @property
    def best(self) -> bytes:
        return bytes(self.outputs[0].array[0])


@dataclass(frozen=True, slots=True)
class Judged:
    """The gate's features [n, k], and where each model is right [n]."""

    features: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    little_right: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    big_right: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    @property
    def lost(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Where keeping the little answer would lose what the big one knows."""
        return self.big_right & ~self.little_right


@dataclass(frozen=True, slots=True)
class Pair:
    """The pictures, their truths, and what both models say of them."""

    little: Model
    big: Model
    pictures: tuple[bytes, ...]
    truths: tuple[bytes, ...]
    by_little: tuple[Seen, ...]
    by_big: tuple[Seen, ...]

    @property
    def answers(self) -> dict[str, tuple[Seen, ...]]:
        """What each model saw, by its name."""
        return {LITTLE: self.by_little, BIG: self.by_big}

    def judged(self) -> Judged:
        """As `littoral calibrate` sees them."""
        features = [features_of(InferAnswer(LITTLE, "1", seen.outputs), self.little)[0] for seen in self.by_little]
        return Judged(np.stack(features), self._right(self.by_little), self._right(self.by_big))

    def big_is_right(self, index: int) -> bool:
        """Whether the big model knows a picture."""
        return self.by_big[index].best == self.truths[index]

    def request(self, index: int, *, model: str, budget_ms: float, name: str = "") -> InferRequest:
        """One picture as a caller sends it."""
        tensor = Tensor("image", "BYTES", bytes_array([self.pictures[index]]))
        return InferRequest(model, (tensor,), id=name, budget_ms=budget_ms)

    def _right(self, seen: Sequence[Seen]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        return np.array([one.best == truth for one, truth in zip(seen, self.truths, strict=True)])


def data_home() -> Path:
    """The folder with the real models and pictures."""
    home = os.environ.get("LITTORAL_DATA")
    if not home:
        raise SystemExit("Set LITTORAL_DATA to the folder with the real models, pictures and traces.")
    return Path(home)


def lay_out(names: Sequence[str], repository: Path) -> Path:
    """A repository with these models under the names `little` and `big`, as a server takes it."""
    labels = (data_home() / "imagenet1k" / "imagenet_labels_1001.txt").read_text().splitlines()[1:]
    for name in names:
        manifest, file = FILES[name]
        folder = repository / name
        (folder / "1").mkdir(parents=True)
        shutil.copy(data_home() / file, folder / "1" / "model.tflite")
        text = (MANIFESTS / f"{manifest}.toml").read_text()
        (folder / "model.toml").write_text(f'labels_file = "labels.txt"\n{text}')
        (folder / "labels.txt").write_text("\n".join(labels))
    return repository


def labelled(pictures_max: int | None = None) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The pictures, evenly chosen where not all are wanted, and what each of them shows."""
    home = data_home() / "imagenet1k"
    labels = (home / "imagenet_labels_1001.txt").read_text().splitlines()[1:]
    rows = list(csv.DictReader((home / "labels.csv").open()))
    step = max(1, len(rows) // pictures_max) if pictures_max else 1
    rows = rows[::step][:pictures_max]
    pictures = tuple((home / "images" / row["file"]).read_bytes() for row in rows)
    return pictures, tuple(labels[int(row["class_index"])].encode() for row in rows)


def open_pair(folder: Path, *, pictures_max: int | None = None, runs: int = 2) -> Pair:
    """Both models over the pictures; each picture `runs` times through each, turn by turn."""
    repository = Repository([lay_out((LITTLE, BIG), folder)])
    little, big = (open_model(repository.find(name)[-1]) for name in (LITTLE, BIG))
    pictures, truths = labelled(pictures_max)
    seen: dict[str, list[Seen]] = {LITTLE: [], BIG: []}
    for picture in pictures:
        for model in (little, big):
            seen[model.name].append(_see(model, picture, runs))
    for name, times in seen.items():
        seen[name] = _without_hiccups(times)
    return Pair(little, big, pictures, truths, tuple(seen[LITTLE]), tuple(seen[BIG]))


def _without_hiccups(seen: Sequence[Seen]) -> list[Seen]:
    """Times beyond one and a half medians are the measuring machine's own hiccups, and are cut to that."""
    most_ms = HICCUP * float(np.median([one.ms for one in seen]))
    return [replace(one, ms=min(one.ms, most_ms)) for one in seen]


def _see(model: Model, picture: bytes, runs: int) -> Seen:
    request = InferRequest(model.name, (Tensor("image", "BYTES", bytes_array([picture])),), parameters=ALL)
    best_ms = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        outputs = model.run(model.check(request), request.parameters)
        best_ms = min(best_ms, (time.perf_counter() - began) * 1e3)
    return Seen(outputs, best_ms)
