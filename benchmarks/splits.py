"""Where a layer split pays, and where it does not: every cut of a model against the upload of its JPEG.

    LITTORAL_DATA=... python benchmarks/splits.py --out benchmarks/results/splits.jsonl

Profiles YOLOX-nano (from `$LITTORAL_DATA`, where that is set) and the built-in big model block by block on this
machine, then asks the planner for every plan at each rate and slow-down of the edge. Nothing is sent; this is what
`littoral plan` says. Takes about half a minute.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from benchmarks import facts, table
from benchmarks.lines import Lines, lines_to
from benchmarks.placement_pair import MANIFESTS
from benchmarks.placement_splits import prepared, profiled
from benchmarks.splits_carried import POINTS, Point, Subject, carried
from littoral.core.world import Link, Site, World
from littoral.model import builtin
from littoral.model.opening import open_model
from littoral.model.profile import Profile
from littoral.model.repository import ModelSource, Repository
from littoral.plan.prices import prices
from littoral.runtime.placing import every_split, place

RATES_MBIT = (1.0, 4.0, 16.0, 64.0, 256.0)
SLOWDOWNS = (1.0, 4.0, 16.0, 64.0)
ROUND_TRIP_MS = 20.0
PICTURES = 5


def models() -> Iterator[tuple[str, ModelSource, list[bytes]]]:
    """What is profiled, with real pictures for it."""
    home = os.environ.get("LITTORAL_DATA")
    if home:
        pictures = sorted(Path(home, "images").glob("*.jpg")) or sorted(Path(home, "imagenet1k/images").glob("*.jpg"))
        source = ModelSource("yolox_nano", "1", Path(home, "detectors/yolox_nano.onnx"), MANIFESTS / "yolox_nano.toml")
        yield "YOLOX-nano", source, [picture.read_bytes() for picture in pictures[:PICTURES]]
    pictures = sorted((builtin.path() / "pictures").glob("*.jpg"))
    yield (
        "built-in big",
        Repository([builtin.path()]).find("surface-big")[-1],
        [picture.read_bytes() for picture in pictures[:PICTURES]],
    )


def slowed(profile: Profile, factor: float) -> Profile:
    """The same model on a machine that is so many times slower."""
    return msgspec.structs.replace(
        profile,
        blocks=[msgspec.structs.replace(block, ms=block.ms * factor) for block in profile.blocks],
        boundaries=[
            msgspec.structs.replace(one, pack_ms={name: ms * factor for name, ms in one.pack_ms.items()})
            for one in profile.boundaries
        ],
        whole_ms=profile.whole_ms * factor,
        prepare_ms=profile.prepare_ms * factor,
    )


def write(lines: Lines, name: str, profile: Profile) -> list[Point]:
    """The boundaries, and the cheapest plan of each kind at each rate and slow-down; the points to be run."""
    lines.write(
        kind="model",
        model=name,
        whole_ms=profile.whole_ms,
        prepare_ms=profile.prepare_ms,
        input_kb=profile.input_bytes / 1e3,
        blocks=len(profile.blocks),
        least_kb=min(min(one.packed_bytes.values()) for one in profile.boundaries) / 1e3,
        steady=profile.steady,
    )
    points = []
    for factor, rate in product(SLOWDOWNS, RATES_MBIT):
        sites = {"edge": slowed(profile, factor), "cloud": profile}
        world = World((Site("edge"), Site("cloud")), (Link(rate * 125, rate * 125, ROUND_TRIP_MS),))
        at = prices(world)
        whole = place(sites).table
        costs = dict(zip((plan.name for plan in whole.plans), whole.costs(at), strict=True))
        splits = every_split(sites)
        assert splits is not None, "nothing forbids a cut here"
        best = splits.choose(at)
        edge_ms, cloud_ms = costs["all on edge"], costs["all on cloud"]
        lines.write(
            kind="split",
            model=name,
            slowdown=factor,
            rate_mbit_s=rate,
            edge_ms=float(edge_ms),
            cloud_ms=float(cloud_ms),
            split_ms=best.cost,
            split=best.plan.name,
            gain=min(edge_ms, cloud_ms) / best.cost,
        )
        if (factor, rate) in POINTS:
            computed = {"edge": float(edge_ms), "cloud": float(cloud_ms), "split": best.cost}
            points.append(Point(factor, rate, best.plan, computed))
    return points


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds a block")
    parser.add_argument("--no-sockets", action="store_true", help="only what is computed")
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    arguments = parser.parse_args(words)
    with lines_to(arguments.out) as lines:
        lines.write(**facts.run_facts("splits", words), round_trip_ms=ROUND_TRIP_MS)
        for name, source, pictures in models():
            model = open_model(source)
            inputs, prepare_ms = prepared(model, pictures)
            model.close()
            weight = sum(map(len, pictures)) / len(pictures)
            rounds = 5 if arguments.quick else 15
            profile = profiled(source.path, inputs, input_bytes=weight, prepare_ms=prepare_ms, rounds=rounds)
            points = write(lines, name, profile)
            if arguments.no_sockets:
                continue
            with tempfile.TemporaryDirectory(prefix="littoral-splits-") as folder:
                found = carried(Subject(source, profile, pictures, ROUND_TRIP_MS), points, Path(folder, "models"))
            for point, times in zip(points, found, strict=True):
                at = {"model": name, "slowdown": point.slowdown, "rate_mbit_s": point.rate_mbit_s}
                for way, ms in times.items():
                    lines.write(kind="carried", **at, way=way, ms=ms, computed_ms=point.computed_ms[way])
    print(table.render(lines.kept))


if __name__ == "__main__":
    main(sys.argv[1:])
