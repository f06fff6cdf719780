"""Sets of rendered JPEGs and the serving preprocessing: decode with draft, squash to the model's size, normalise."""

from __future__ import annotations

import hashlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import render
from numpy.typing import NDArray
from PIL import Image

MEAN = 127.5
STD = 63.75
CELLS = 48


def _source_digest() -> str:
    here = Path(__file__).parent
    parts = (here / name for name in ("fields.py", "materials.py", "defects.py", "render.py"))
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Set:
    """One split: JPEG bytes, class ids (n,), and how much of each of 48 x 48 cells is faulty, 0..255 (n, 48, 48)."""

    jpegs: list[bytes]
    classes: NDArray[np.int64]
    faults: NDArray[np.uint8]

    def sized(self, side_px: int) -> NDArray[np.uint8]:
        """All pictures at a model's size, (n, side, side, 3)."""
        return np.stack([sized(jpeg, side_px) for jpeg in self.jpegs])


def rendered(seed: int, split: str, count: int, cache: Path) -> Set:
    """The first `count` pictures of a split, from `cache` when the same renderer made them before."""
    kept = cache / f"{_source_digest()}-{seed}-{split}-{count}.npz"
    classes = np.array([render.LABELS.index(render.label_of(index)) for index in range(count)], np.int64)
    if kept.exists():
        with np.load(kept) as stored:
            joined, ends, faults = stored["joined"].tobytes(), stored["ends"], stored["faults"]
        return Set([joined[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)], classes, faults)
    packed, faults = [], np.zeros((count, CELLS, CELLS), np.uint8)
    for index in range(count):
        picture, fault = render.drawn(seed, split, index)
        packed.append(render.stored(picture, seed, index))
        whole = Image.fromarray((fault * 255).astype(np.uint8))
        faults[index] = np.asarray(whole.resize((CELLS, CELLS), Image.Resampling.BOX))
        if index % 500 == 499:
            print(f"rendered {index + 1} of {count} {split} pictures", file=sys.stderr, flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    ends = np.cumsum([len(one) for one in packed])
    np.savez(kept, joined=np.frombuffer(b"".join(packed), np.uint8), ends=ends, faults=faults)
    return Set(packed, classes, faults)


def sized(jpeg: bytes, side_px: int, *, draft: bool = True) -> NDArray[np.uint8]:
    """The picture as the server sees it, (side, side, 3) RGB, before normalisation."""
    picture = Image.open(io.BytesIO(jpeg))
    if draft:
        picture.draft("RGB", (side_px, side_px))
    small = picture.convert("RGB").resize((side_px, side_px), Image.Resampling.BILINEAR)
    return np.asarray(small, np.uint8)


def normalised(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, side, side, 3) bytes to the (n, 3, side, side) input tensor."""
    values = (pixels.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))  # (n, 3, side, side)
