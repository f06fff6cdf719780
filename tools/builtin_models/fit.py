"""Trains one network: AdamW under a one-cycle rate, mirrored and turned pictures, the best epoch by validation kept.

The renderer knows where each fault lies, so a second, training-only head names every cell of the last feature map.
Small nets learn thin faults several times faster with it; it is dropped before export.
"""

from __future__ import annotations

import copy
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from nets import Design, build
from numpy.typing import NDArray
from pictures import CELLS, MEAN, STD
from render import LABELS
from torch import nn

BATCH = 32
IGNORED = -1
Pixels = NDArray[np.uint8]
Classes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sample:
    """What is learnt from: pictures (n, side, side, 3), class ids (n,), class ids of the cells (n, rows, columns)."""

    pixels: Pixels
    classes: Classes
    cells: Classes


def cells_of(classes: Classes, faults: NDArray[np.uint8], rows: int) -> Classes:
    """Class of each of `rows` x `rows` cells: the fault's where it covers > 2 %, ok where < 0.2 %, else IGNORED."""
    edges = np.linspace(0, CELLS, rows + 1).round().astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(faults.astype(np.int64), edges, 1), edges, 2)  # (n, rows, rows)
    share = sums / (255 * (CELLS / rows) ** 2)
    ok = LABELS.index("ok")
    named = np.where(share > 0.02, classes[:, None, None], IGNORED)
    return np.where(share < 0.002, ok, named).astype(np.int64)


def tensor(pixels: Pixels) -> torch.Tensor:
    values = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()  # (n, 3, side, side)
    return ((values - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def _close_up(sample: Sample, chance: np.random.Generator) -> Sample:
    """Every picture cut to half its side, mostly around its fault; one that shows but a hint of it is IGNORED."""
    rows = sample.cells.shape[1]
    half, reach = rows // 2, sample.pixels.shape[1] // rows
    ok = LABELS.index("ok")
    pixels = np.empty((len(sample.pixels), half * reach, half * reach, 3), np.uint8)
    cells = np.empty((len(sample.cells), half, half), np.int64)
    classes = np.empty(len(sample.cells), np.int64)
    for i, (whole, named) in enumerate(zip(sample.pixels, sample.cells, strict=True)):
        at = chance.integers(0, rows - half + 1, 2)
        faulty = np.argwhere(named > IGNORED) if sample.classes[i] == ok else np.argwhere(named == sample.classes[i])
        if len(faulty) and chance.random() < 0.85:
            at = np.clip(faulty[chance.integers(len(faulty))] - chance.integers(0, half, 2), 0, rows - half)
        cells[i] = named[at[0] : at[0] + half, at[1] : at[1] + half]
        classes[i] = sample.classes[i] if (cells[i] == sample.classes[i]).any() else ok
        if classes[i] != sample.classes[i] and (cells[i] == IGNORED).any():
            classes[i] = IGNORED
        top, left = at * reach
        pixels[i] = whole[top : top + half * reach, left : left + half * reach]
    return Sample(pixels, classes, cells)


def _varied(
    sample: Sample, chosen: NDArray[np.int64], chance: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch and its cells, turned, mirrored, brighter or darker, tinted: nothing that would change a label."""
    pixels, cells = sample.pixels[chosen], sample.cells[chosen]
    if chance.random() < 0.5:
        pixels, cells = pixels[:, ::-1], cells[:, ::-1]
    if chance.random() < 0.5:
        pixels, cells = pixels[:, :, ::-1], cells[:, :, ::-1]
    if chance.random() < 0.5:
        pixels, cells = pixels.transpose(0, 2, 1, 3), cells.transpose(0, 2, 1)
    batch = tensor(np.ascontiguousarray(pixels))
    gain = torch.from_numpy(chance.uniform(0.88, 1.14, (len(batch), 1, 1, 1)).astype(np.float32))
    tint = torch.from_numpy(chance.normal(0, 0.08, (len(batch), 3, 1, 1)).astype(np.float32))
    batch = (batch * gain + tint).contiguous(memory_format=torch.channels_last)
    return batch, torch.from_numpy(np.ascontiguousarray(cells))


@torch.no_grad()  # type: ignore[untyped-decorator,unused-ignore]  # torch is typed only where it is installed
def right(net: nn.Module, pixels: Pixels, classes: Classes) -> float:
    """The share of pictures named rightly."""
    net.eval()
    good = 0
    for at in range(0, len(pixels), 100):
        guess = net(tensor(pixels[at : at + 100])).argmax(1).numpy()
        good += int((guess == classes[at : at + 100]).sum())
    return good / len(pixels)


def trained(
    design: Design,
    train: Sample,
    validation: tuple[Pixels, Classes],
    *,
    seed: int,
    close_epochs: int,
    epochs: int,
    rate_max: float,
) -> tuple[nn.Sequential, list[float]]:
    """The network of the epoch that validated best, and every epoch's validation accuracy.

    The first `close_epochs` are spent on close-ups, which cost a quarter and show the fault larger.
    """
    torch.manual_seed(seed)
    chance = np.random.default_rng((seed, 77))
    net = build(design, len(LABELS)).to(memory_format=torch.channels_last)
    body, head = net[:-3], net[-3:]
    guide = nn.Conv2d(design.features, len(LABELS), 1)
    rounds = len(train.pixels) // BATCH
    optimizer = torch.optim.AdamW([*net.parameters(), *guide.parameters()], lr=rate_max, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate_max, total_steps=rounds * epochs, pct_start=0.15)
    whole = nn.CrossEntropyLoss(label_smoothing=0.03, ignore_index=IGNORED)
    weight = torch.ones(len(LABELS))
    weight[LABELS.index("ok")] = 0.3
    each = nn.CrossEntropyLoss(weight, ignore_index=IGNORED)
    history: list[float] = []
    best = copy.deepcopy(net)
    for epoch in range(epochs):
        net.train()
        began, total = time.perf_counter(), 0.0
        shown = _close_up(train, chance) if epoch < close_epochs else train
        order = chance.permutation(len(train.pixels))
        for at in range(rounds):
            chosen = order[at * BATCH : (at + 1) * BATCH]
            batch, cells = _varied(shown, chosen, chance)
            features = body(batch)
            loss = whole(head(features), torch.from_numpy(shown.classes[chosen])) + each(guide(features), cells)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        history.append(right(net, *validation))
        if history[-1] >= max(history):
            best = copy.deepcopy(net)
        print(
            f"{design.name} epoch {epoch + 1}/{epochs}: loss {total / rounds:.3f}, validation {history[-1]:.4f}, "
            f"{time.perf_counter() - began:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    return best.eval().to(memory_format=torch.contiguous_format), history
