"""Eight surfaces without a fault: four metals, three cloths and leather, each a height map with a colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from fields import Chance, Field, cells, grain, profile, step, streaks, turned
from numpy.typing import NDArray

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Surface:
    """What light meets: `height` in pixels (256, 256), `albedo` 0..1 (256, 256, 3), `gloss` 0..1 (256, 256).

    `fault` (256, 256) is 1 where a fault was drawn, 0 on sound material.
    """

    height: Field
    albedo: NDArray[np.float32]
    gloss: Field
    shine: float
    cloth: bool
    fault: Field = field(default_factory=lambda: _even(0))


def _painted(colour: Colour, shade: Field) -> NDArray[np.float32]:
    return np.asarray(np.array(colour, np.float32) * shade[..., None], np.float32)  # (256, 256, 3)


def _pick(chance: Chance, colours: tuple[Colour, ...], spread: float) -> Colour:
    base = np.array(colours[int(chance.integers(len(colours)))])
    r, g, b = np.clip(base * chance.uniform(1 - spread, 1 + spread) * chance.uniform(0.96, 1.04, 3), 0.02, 0.95)
    return float(r), float(g), float(b)


def _even(value: float) -> Field:
    return np.full((256, 256), value, np.float32)


STEEL: tuple[Colour, ...] = ((0.60, 0.61, 0.63), (0.52, 0.53, 0.55), (0.66, 0.64, 0.60), (0.68, 0.55, 0.36))


def brushed(chance: Chance) -> Surface:
    angle = chance.uniform(0, np.pi)
    fine = streaks(chance, angle, chance.uniform(50, 140), chance.uniform(0.7, 1.4))
    broad = streaks(chance, angle, 200, chance.uniform(4, 9))
    amount = chance.uniform(0.5, 1.2)
    shade = 1 + np.float32(amount) * (0.045 * fine + 0.03 * broad)
    height = np.float32(amount * 0.10) * fine
    return Surface(height, _painted(_pick(chance, STEEL, 0.12), shade), _even(chance.uniform(0.25, 0.5)), 14, False)


def machined(chance: Chance) -> Surface:
    along, across = turned(chance.uniform(0, 2 * np.pi))
    radius = np.hypot(along + chance.uniform(60, 420), across + chance.uniform(-60, 60))
    rings = profile(chance, radius, chance.uniform(1.6, 3.2))
    feed = np.sin(radius * np.float32(2 * np.pi / chance.uniform(7, 15)))
    amount = chance.uniform(0.5, 1.1)
    shade = 1 + amount * (0.05 * rings + 0.03 * feed) + 0.015 * grain(chance, 1.5)
    height = amount * (0.10 * rings + 0.12 * feed)
    return Surface(height, _painted(_pick(chance, STEEL, 0.12), shade), _even(chance.uniform(0.2, 0.45)), 18, False)


def cast(chance: Chance) -> Surface:
    size = chance.uniform(3, 7)
    bumps = grain(chance, size)
    rough = grain(chance, 12, roll=1.6)
    amount = chance.uniform(0.6, 1.2)
    shade = 1 + np.float32(amount) * (0.06 * rough + 0.04 * bumps)
    iron = ((0.34, 0.35, 0.37), (0.44, 0.44, 0.44), (0.40, 0.36, 0.32), (0.55, 0.55, 0.56))
    height = np.float32(amount) * (0.06 * size * bumps + 0.25 * rough)
    return Surface(height, _painted(_pick(chance, iron, 0.15), shade), _even(chance.uniform(0.08, 0.2)), 10, False)


def painted(chance: Chance) -> Surface:
    size = chance.uniform(5, 11)
    peel = grain(chance, size)
    coats = (
        (0.16, 0.32, 0.55),
        (0.62, 0.16, 0.13),
        (0.18, 0.42, 0.30),
        (0.80, 0.62, 0.16),
        (0.78, 0.78, 0.74),
        (0.36, 0.40, 0.44),
        (0.80, 0.42, 0.14),
        (0.20, 0.22, 0.25),
    )
    height = np.asarray(chance.uniform(0.02, 0.06) * size * peel, np.float32)
    shade = np.asarray(1 + 0.01 * grain(chance, 1.2), np.float32)
    return Surface(height, _painted(_pick(chance, coats, 0.12), shade), _even(chance.uniform(0.2, 0.4)), 40, False)


YARNS: tuple[Colour, ...] = (
    (0.62, 0.58, 0.50),
    (0.25, 0.32, 0.46),
    (0.50, 0.22, 0.20),
    (0.30, 0.40, 0.30),
    (0.72, 0.68, 0.60),
    (0.44, 0.44, 0.46),
    (0.58, 0.46, 0.26),
    (0.52, 0.40, 0.50),
)


def _loosened(chance: Chance, amount: float, u: Field, v: Field) -> tuple[Field, Field]:
    return u + np.float32(amount) * grain(chance, 50), v + np.float32(amount) * grain(chance, 50)


def _weave(chance: Chance, repeat: int, float_over: int, warp: Colour, weft: Colour) -> Surface:
    """Warp yarn i lies above weft yarn j where (i + j) mod `repeat` < `float_over`."""
    pitch = chance.uniform(5.5, 11)
    u, v = turned(chance.uniform(0, np.pi))
    u, v = _loosened(chance, chance.uniform(0.3, 1.0), u, v)
    u, v = u / np.float32(pitch), v / np.float32(pitch * chance.uniform(0.85, 1.15))
    i, j = np.floor(u), np.floor(v)
    fu, fv = u - i, v - j
    a, b = (v + i) % repeat, (u + j) % repeat
    above = (i + j) % repeat < float_over
    bulge = np.where(above, np.sin(np.pi * a / float_over), np.sin(np.pi * (b - float_over) / (repeat - float_over)))
    across = np.where(above, np.sin(np.pi * fu), np.sin(np.pi * fv))
    body = np.sqrt(np.clip(across, 0, 1)) * (0.55 + 0.45 * np.sqrt(np.clip(bulge, 0, 1)))
    tone = chance.normal(1, 0.05, (2, 128)).astype(np.float32)
    yarn = np.where(above, tone[0][i.astype(int) % 128], tone[1][j.astype(int) % 128])
    twist = np.where(above, np.sin(2 * np.pi * (v * 3 + fu)), np.sin(2 * np.pi * (u * 3 + fv)))
    shade = ((0.42 + 0.62 * body) * yarn + 0.025 * twist + 0.03 * grain(chance, 1.2)).astype(np.float32)
    albedo = np.where(above[..., None], _painted(warp, shade), _painted(weft, shade))
    height = (np.float32(0.18 * pitch) * body).astype(np.float32)
    return Surface(height, albedo, _even(0.03), 6, True)


def woven(chance: Chance) -> Surface:
    colour = _pick(chance, YARNS, 0.15)
    other = _pick(chance, YARNS, 0.15) if chance.random() < 0.3 else colour
    return _weave(chance, 2, 1, colour, other)


def denim(chance: Chance) -> Surface:
    warps = ((0.20, 0.27, 0.42), (0.26, 0.36, 0.52), (0.30, 0.30, 0.32), (0.48, 0.40, 0.30))
    warp = _pick(chance, warps, 0.15)
    weft = (min(0.9, warp[0] + 0.25), min(0.9, warp[1] + 0.25), min(0.9, warp[2] + 0.22))
    repeat, over = ((3, 2), (4, 3), (4, 2))[int(chance.integers(3))]
    return _weave(chance, repeat, over, warp, weft)


def knit(chance: Chance) -> Surface:
    width, rise = chance.uniform(10, 18), chance.uniform(0.55, 0.8)
    u, v = turned(chance.uniform(0, np.pi))
    u, v = _loosened(chance, 1.2, u, v)
    x = (u / np.float32(width)) % 1 * 2 - 1
    strand = v / np.float32(width * rise) + np.abs(x) * np.float32(chance.uniform(0.8, 1.1))
    body = np.sqrt(np.clip(np.sin(np.pi * (strand % 1)), 0, 1)) * np.sqrt(np.clip(np.sin(np.pi * np.abs(x)), 0, 1))
    fibre = np.sin(2 * np.pi * (strand * 3 + 2 * np.abs(x)))
    shade = (0.40 + 0.62 * body + 0.03 * fibre + 0.03 * grain(chance, 1.3)).astype(np.float32)
    height = (np.float32(0.16 * width) * body).astype(np.float32)
    return Surface(height, _painted(_pick(chance, YARNS, 0.15), shade), _even(0.03), 6, True)


def leather(chance: Chance) -> Surface:
    u, v = turned(chance.uniform(0, np.pi))
    size = chance.uniform(8, 16)
    u, v = _loosened(chance, size * 0.25, u, v)
    near, next_near = cells(chance, u / np.float32(size), v / np.float32(size * chance.uniform(0.7, 1)))
    pebble = step(next_near - near, 0.0, chance.uniform(0.25, 0.45))
    hides = ((0.42, 0.26, 0.16), (0.20, 0.16, 0.14), (0.55, 0.38, 0.22), (0.40, 0.14, 0.12), (0.62, 0.56, 0.46))
    shade = 0.80 + 0.20 * pebble + 0.025 * grain(chance, 2) + 0.03 * grain(chance, 40)
    height = np.float32(chance.uniform(0.06, 0.12) * size) * pebble + 0.08 * grain(chance, 2)
    return Surface(height, _painted(_pick(chance, hides, 0.15), shade), _even(chance.uniform(0.08, 0.22)), 16, True)


MATERIALS: tuple[Callable[[Chance], Surface], ...] = (
    brushed,
    machined,
    cast,
    painted,
    woven,
    denim,
    knit,
    leather,
)
