"""What packing raw pictures saves and changes, and whether the choice to pack is the right one at each rate.

    LITTORAL_DATA=... python benchmarks/packing.py --out benchmarks/results/packing.jsonl

First each form over the labelled pictures, which become bitmaps at half their size, so that no earlier JPEG shows: what
it weighs and takes, how many answers it changes, how many are right. Then bitmaps over real sockets at several rates:
here, there as they came, there packed, and where Littoral sends them (without loss), in turn. Takes eight minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from benchmarks import facts, table
from benchmarks.lines import Lines, lines_to
from benchmarks.placement_link import MBIT
from benchmarks.placement_pair import BIG, LITTLE, MANIFESTS, data_home, labelled, lay_out
from benchmarks.placement_slow import slow_opener
from benchmarks.placement_sockets import served
from littoral.core.clock import RealClock
from littoral.core.request import InferAnswer, InferRequest
from littoral.core.tensor import Tensor, bytes_array
from littoral.model.model import Model
from littoral.model.opening import open_model
from littoral.model.repository import ModelSource, Repository
from littoral.model.tasks.recoding import FORMS, LOSSLESS, recode
from littoral.monitor.meters import Meters
from littoral.net.shaper import ShapedLink
from littoral.net.weather import Forecast, Weather
from littoral.plan.cascade import binomial_upper
from littoral.runtime.cascading import differs
from littoral.runtime.peer import Peer
from littoral.runtime.placer import Placer
from littoral.runtime.runtime import Runtime
from littoral.serve.upstream import Upstream

ERROR_RATE = 0.05
RATES_MBIT = (2.0, 8.0, 32.0, 128.0, 1000.0)
TRIP_MS = 10.0
SLOWDOWN = 16.0
WARM_UP = 16  # requests until the link and the forms are known
REQUESTS = 40
DEADLINE_MS = 10_000.0
AS_IT_CAME, PNG = "as a bitmap", "as a PNG"
Ask = Callable[[bytes], Awaitable[InferAnswer]]


def stored(picture: bytes, kind: str, shrink: int = 2) -> bytes:
    """The picture as nobody has packed it, at a fraction of its size."""
    seen = Image.open(io.BytesIO(picture)).convert("RGB")
    out = io.BytesIO()
    seen.resize((seen.width // shrink, seen.height // shrink), Image.Resampling.LANCZOS).save(out, kind)
    return out.getvalue()


def answered(model: Model, picture: bytes) -> InferAnswer:
    request = InferRequest(model.name, (Tensor("image", "BYTES", bytes_array([picture])),))
    return InferAnswer(model.name, "1", model.run(model.check(request), {}))


def forms(lines: Lines, model: Model, name: str, pictures: Sequence[bytes], truths: Sequence[bytes]) -> None:
    """Every form of every picture through one model."""
    raw = [stored(picture, "BMP") for picture in pictures]
    whole = [answered(model, picture) for picture in raw]
    makers: dict[str, Callable[[int], bytes]] = {AS_IT_CAME: raw.__getitem__}
    makers[PNG] = lambda index: stored(pictures[index], "PNG")
    for form in FORMS:
        makers[form] = lambda index, form=form: recode(raw[index], form)
    for form, make in makers.items():
        sizes, times, changed, right = [], [], [], []
        for index, true in enumerate(whole):
            began = time.perf_counter()
            packed = make(index)
            times.append((time.perf_counter() - began) * 1e3)
            sizes.append(len(packed))
            answer = answered(model, packed)
            changed.append(differs(true, answer))
            right.append(bool(truths) and answer.output("label").array[0] == truths[index])
        lines.write(
            kind="form",
            model=name,
            form=form,
            pictures=len(raw),
            bytes_share=sum(sizes) / sum(map(len, raw)),
            kb=sum(sizes) / len(sizes) / 1e3,
            pack_ms=float(np.median(times)) if form in FORMS else None,
            changed_share=sum(changed) / len(changed),
            changed_at_most=binomial_upper(sum(changed), len(changed), ERROR_RATE),
            right_share=sum(right) / len(right) if truths else None,
        )


async def carried(lines: Lines, source: ModelSource, cloud: tuple[str, int], pictures: Sequence[bytes]) -> None:
    """Bitmaps over a link of each rate, every way in turn."""
    runtime = Runtime(site="edge", clock=RealClock(), meters=Meters(), workers=1, opener=slow_opener(SLOWDOWN))
    await runtime.load(source)
    link = ShapedLink(*cloud, Forecast(Weather(RATES_MBIT[0] * MBIT, TRIP_MS / 2e3)))
    await link.start()
    try:
        for rate in RATES_MBIT:
            link.change(Forecast(Weather(rate * MBIT, TRIP_MS / 2e3)))
            took, went = await _at(runtime, link, source.name, pictures)
            for way, times in took.items():
                more = {"went": went} if way == "littoral" else {}
                ms = float(np.mean(times))
                lines.write(kind="carried", rate_mbit_s=rate, way=way, ms=ms, requests=len(times), **more)
    finally:
        await link.stop()
        await runtime.close(grace_s=2.0)


async def _at(
    runtime: Runtime, link: ShapedLink, name: str, pictures: Sequence[bytes]
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Each way's times over the link as it is now, and how many requests Littoral sent which way."""
    clock = RealClock()
    upstream = Upstream(f"http://127.0.0.1:{link.port}")
    placer = Placer(runtime, [Peer("cloud", upstream, clock=clock)], clock=clock, agreement_min=1.0)
    placer.shared[name] = placer.peers

    def request(picture: bytes) -> InferRequest:
        tensor = Tensor("image", "BYTES", bytes_array([picture]))
        return InferRequest(name, (tensor,), budget_ms=DEADLINE_MS)

    async def here(picture: bytes) -> InferAnswer:
        return await _given(runtime.begin(request(picture)))

    async def there(picture: bytes) -> InferAnswer:
        return await upstream.infer(request(picture), timeout_s=60.0)

    async def packed(picture: bytes) -> InferAnswer:
        return await there(await asyncio.to_thread(recode, picture, LOSSLESS))

    async def placed(picture: bytes) -> InferAnswer:
        return await _given(placer.begin(request(picture)))

    ways: dict[str, Ask] = {"here": here, "there": there, "there, packed": packed, "littoral": placed}
    took: dict[str, list[float]] = {way: [] for way in ways}
    went: dict[str, int] = {}
    for number in range(WARM_UP + REQUESTS):
        picture = pictures[number % len(pictures)]
        for way, ask in ways.items():
            began = time.perf_counter()
            answer = await ask(picture)
            if number >= WARM_UP:
                took[way].append((time.perf_counter() - began) * 1e3)
                if way == "littoral":
                    route = str(answer.parameters.get("codec") or answer.parameters["plan"])
                    went[route] = went.get(route, 0) + 1
    await placer.close()
    return took, went


async def _given(begun: InferAnswer | asyncio.Future[InferAnswer]) -> InferAnswer:
    return begun if isinstance(begun, InferAnswer) else await begun


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    arguments = parser.parse_args(words)
    with lines_to(arguments.out) as lines, tempfile.TemporaryDirectory(prefix="littoral-packing-") as folder:
        lines.write(**facts.run_facts("packing", words), trip_ms=TRIP_MS, slowdown=SLOWDOWN)
        pictures, truths = labelled(arguments.pictures)
        home = lay_out((LITTLE, BIG), Path(folder, "models"))
        sources = {name: Repository([home]).find(name)[-1] for name in (LITTLE, BIG)}
        detector = ModelSource(
            "yolox_nano", "1", data_home() / "detectors/yolox_nano.onnx", MANIFESTS / "yolox_nano.toml"
        )
        for source, name in ((sources[LITTLE], "MobileNetV1 0.5"), (sources[BIG], "MobileNetV2")):
            forms(lines, open_model(source), name, pictures, truths)
        forms(lines, open_model(detector), "YOLOX-nano", pictures[::5], ())
        raw = [stored(picture, "BMP", 1) for picture in pictures[:REQUESTS]]
        with served(home) as cloud:
            asyncio.run(carried(lines, sources[BIG], cloud, raw))
    print(table.render(lines.kept))


if __name__ == "__main__":
    main(sys.argv[1:])
