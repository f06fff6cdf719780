"""Five faults, each drawn into a surface: scratch, dent, stain, crack and hole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from fields import SIDE, Chance, Field, grain, line, pixels, step
from materials import Surface
from numpy.typing import NDArray


def _place(chance: Chance, margin_px: float) -> tuple[float, float]:
    x, y = chance.uniform(margin_px, SIDE - margin_px, 2)
    return float(x), float(y)


def _mixed(albedo: NDArray[np.float32], colour: NDArray[np.float32], share: Field) -> NDArray[np.float32]:
    return np.asarray(albedo + (colour - albedo) * share[..., None], np.float32)  # (256, 256, 3)


def _ellipse(chance: Chance, radius_px: float, wobble: float) -> Field:
    """Distance from a random place in units of a random ellipse's radius: 1 on its edge."""
    x0, y0 = _place(chance, radius_px * 0.85 + 16)
    rows, columns = pixels()
    angle, squeeze = chance.uniform(0, np.pi), chance.uniform(0.65, 1.0)
    x, y = columns - np.float32(x0), rows - np.float32(y0)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    distance = np.hypot(x * c + y * s, (y * c - x * s) / np.float32(squeeze)) / np.float32(radius_px)
    return np.asarray(distance + np.float32(wobble) * grain(chance, radius_px * 0.7), np.float32)


def scratch(surface: Surface, chance: Chance) -> Surface:
    """A nearly straight pale groove, sometimes with one or two companions."""
    length, angle = chance.uniform(70, 190), chance.uniform(0, 2 * np.pi)
    x0, y0 = _place(chance, 70)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    t = np.linspace(-0.5, 0.5, 17)
    bow = chance.uniform(-0.08, 0.08) * length * (1 - (2 * t) ** 2)
    width = chance.uniform(0.55, 1.2) * (1.2 if surface.cloth else 1.0)
    cover = np.zeros((SIDE, SIDE), np.float32)
    for mate in range(int(chance.choice((1, 1, 1, 2, 3)))):
        shift = mate * chance.uniform(5, 11)
        share = chance.uniform(0.55, 1) if mate else 1.0
        points = np.array([x0, y0]) + (t * length * share)[:, None] * along + (bow + shift)[:, None] * across  # (17, 2)
        taper = np.sqrt(np.clip(1.02 - (2 * t) ** 2, 0.05, 1)) * chance.uniform(0.7, 1.15, 17)
        cover = np.maximum(cover, line(points, width * taper))
    skip = 0.75 + 0.25 * step(grain(chance, 9), -1.2, 0.2)
    cover = np.asarray(cover * skip, np.float32)
    mean = surface.albedo.mean(axis=(0, 1))
    bare = mean * 0.45 + 0.55 if mean.mean() < 0.66 else mean * 0.45
    albedo = _mixed(surface.albedo, bare.astype(np.float32), cover * np.float32(chance.uniform(0.65, 0.95)))
    gloss = surface.gloss + cover * np.float32(0.25)
    return replace(surface, albedo=albedo, gloss=gloss, height=surface.height - 0.9 * cover, fault=cover)


def _walk(chance: Chance, start: NDArray[np.float64], angle: float, steps: int) -> NDArray[np.float64]:
    headings = angle + np.cumsum(chance.normal(0, 0.16, steps)) + chance.normal(0, 0.42, steps)
    lengths = chance.uniform(3, 7.5, steps)
    hops = np.stack((np.cos(headings), np.sin(headings)), 1) * lengths[:, None]  # (steps, 2)
    return np.concatenate((start[None], start + np.cumsum(hops, 0)))


def crack(surface: Surface, chance: Chance) -> Surface:
    """A dark ragged line that wanders, thins out and may fork."""
    steps, angle = int(chance.integers(16, 38)), float(chance.uniform(0, 2 * np.pi))
    trunk = _walk(chance, np.array(_place(chance, 60)), angle, steps)
    trunk += np.array(_place(chance, 90)) - trunk.mean(0)
    width = chance.uniform(0.6, 1.3) * (1.5 if surface.cloth else 1.0)
    thin = np.linspace(1, 0.45, steps + 1) * chance.uniform(0.7, 1.3, steps + 1)
    cover = line(trunk, width * thin)
    for _ in range(int(chance.integers(0, 4))):
        at = int(chance.integers(2, steps - 2))
        side = angle + chance.choice((-1, 1)) * chance.uniform(0.5, 1.1)
        count = int(chance.integers(4, 11))
        twig = _walk(chance, trunk[at], float(side), count)
        cover = np.maximum(cover, line(twig, width * thin[at] * np.linspace(0.85, 0.3, count + 1)))
    dark = np.array([0.05, 0.045, 0.04], np.float32)
    depth = np.float32(chance.uniform(0.75, 0.95))
    albedo = _mixed(surface.albedo, dark, cover * depth)
    height = surface.height - 1.6 * cover
    return replace(surface, albedo=albedo, gloss=surface.gloss * (1 - cover), height=height, fault=cover)


def dent(surface: Surface, chance: Chance) -> Surface:
    """A smooth hollow that changes the shape and not the colour."""
    radius = chance.uniform(20, 46)
    r = _ellipse(chance, radius, 0.03)
    bowl = np.clip(1 - r * r, 0, 1) ** 2
    rim = np.exp(-(((r - 1.05) / 0.22) ** 2))
    depth = radius * chance.uniform(0.16, 0.30) * (1.35 if surface.cloth else 1.0)
    height = surface.height - np.float32(depth) * bowl + np.float32(depth * 0.10) * rim
    albedo = surface.albedo * (1 - 0.12 * bowl)[..., None]
    return replace(
        surface,
        height=np.asarray(height, np.float32),
        albedo=np.asarray(albedo, np.float32),
        fault=1 - step(r, 0.8, 1),
    )


INKS = ((0.30, 0.18, 0.09), (0.16, 0.14, 0.12), (0.42, 0.20, 0.08), (0.14, 0.17, 0.30), (0.30, 0.27, 0.12))


def stain(surface: Surface, chance: Chance) -> Surface:
    """A spill: colour without shape, an uneven edge, often a darker tide line and a few drops."""
    r = _ellipse(chance, chance.uniform(22, 52), 0.16)
    soft = chance.uniform(0.06, 0.22)
    body = 1 - step(r, 1 - soft, 1 + soft)
    tide = np.exp(-(((r - 0.97) / 0.07) ** 2)) * np.float32(chance.uniform(0, 0.5))
    for _ in range(int(chance.integers(0, 4))):
        drop = _ellipse(chance, chance.uniform(3, 8), 0.08)
        body = np.maximum(body, 1 - step(drop, 0.8, 1.15))
    mottle = 0.85 + 0.15 * grain(chance, 14)
    share = np.clip((body * mottle + tide) * np.float32(chance.uniform(0.32, 0.7)), 0, 0.9)
    mean = surface.albedo.mean(axis=(0, 1))
    inks = np.array(INKS, np.float32)
    inks = inks[np.argsort(np.abs(inks - mean).sum(1))[2:]]  # an ink of the ground's own colour would not show
    colour = inks[int(chance.integers(len(inks)))]
    if mean.mean() < 0.3:  # on a dark ground only a pale spill can be seen
        colour = np.array([0.74, 0.72, 0.66], np.float32) * np.float32(chance.uniform(0.75, 1.1))
    wet = surface.albedo / np.maximum(mean, 0.05) * colour  # the texture stays visible under the spill
    albedo = _mixed(surface.albedo, np.asarray(wet, np.float32), np.asarray(share, np.float32))
    gloss = np.asarray(surface.gloss * (1 - 0.5 * share), np.float32)
    return replace(surface, albedo=albedo, gloss=gloss, fault=np.asarray(body, np.float32))


def hole(surface: Surface, chance: Chance) -> Surface:
    """Missing material: a dark opening with a wall, round and burred in metal, frayed in cloth."""
    radius = chance.uniform(5, 15)
    ragged = 0.10 if surface.cloth else 0.03
    r = _ellipse(chance, radius, ragged)
    if surface.cloth:
        r = r + np.float32(1.1 / radius) * grain(chance, 2.2)
    edge = 0.9 / radius
    inside = 1 - step(r, 1 - edge, 1 + edge)
    rim = np.exp(-(((r - 1.12) / 0.16) ** 2))
    behind = np.array([0.03, 0.03, 0.035], np.float32) * np.float32(chance.uniform(0.5, 2.2))
    albedo = _mixed(surface.albedo, behind, inside)
    albedo = albedo * (1 + (0.22 if surface.cloth else 0.12) * rim * (1 - inside))[..., None]
    height = surface.height * (1 - inside) + np.float32(0.7) * rim - np.float32(3.0) * inside
    gloss = surface.gloss * (1 - inside)
    return replace(
        surface,
        albedo=np.asarray(albedo, np.float32),
        height=np.asarray(height, np.float32),
        gloss=gloss,
        fault=inside,
    )


DEFECTS: dict[str, Callable[[Surface, Chance], Surface]] = {
    "crack": crack,
    "dent": dent,
    "hole": hole,
    "scratch": scratch,
    "stain": stain,
}
