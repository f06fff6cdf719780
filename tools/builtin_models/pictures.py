"""Sets of rendered JPEGs and the serving preprocessing: decode with draft, squash to the model's size, normalise."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

import numpy as np
import render
from numpy.typing import NDArray
from PIL import Image

MEAN = 127.5
STD = 63.75


def _source_digest() -> str:
    here = Path(__file__).parent
    parts = (here / name for name in ("fields.py", "materials.py", "defects.py", "render.py"))
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]


def rendered(seed: int, split: str, count: int, cache: Path) -> list[bytes]:
    """`count` JPEGs of a split, from `cache` when the same renderer made them before."""
    kept = cache / f"{_source_digest()}-{seed}-{split}-{count}.npz"
    if kept.exists():
        with np.load(kept) as stored:
            joined, ends = stored["joined"].tobytes(), stored["ends"]
        return [joined[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    packed = []
    for index in range(count):
        packed.append(render.jpeg(seed, split, index))
        if index % 500 == 499:
            print(f"rendered {index + 1} of {count} {split} pictures", file=sys.stderr, flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(kept, joined=np.frombuffer(b"".join(packed), np.uint8), ends=np.cumsum([len(one) for one in packed]))
    return packed


def labels(count: int) -> NDArray[np.int64]:
    """Class ids of the first `count` pictures of any split."""
    return np.array([render.LABELS.index(render.label_of(index)) for index in range(count)], np.int64)


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
