"""A backlog over a slow link, and a model over one that is cut: what gets through, and what comes twice.

    python benchmarks/delivery_link.py --out benchmarks/results/delivery_link.jsonl    # about seven minutes

Hub and link are processes of their own. **drain**: a backlog of incompressible events lies in a real outbox; while it
drains, a fresh result is put four times a second. **blob**: 100 MB come down while all connections are cut 20 times.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx

from benchmarks import facts, table
from benchmarks.lines import Lines, lines_to
from littoral.core.clock import RealClock
from littoral.core.units import bytes_per_ms
from littoral.net.backoff import BackoffLimits
from littoral.net.http import HubHttp
from littoral.net.resume import Transfers
from littoral.net.sending import Sender
from littoral.net.shaper import ShapedLink
from littoral.net.shipping import Shipping, terms_of
from littoral.net.weather import Fault, Forecast, Weather
from littoral.store.blobs import Blobs
from littoral.store.outbox import Outbox
from littoral.store.rules import Order, StreamRule

BODY_BYTES = 10_000
FRESH_EVERY_S = 0.25
SETTLE_S = 5.0  # the link is learnt in this time; figures begin after it
CUTS, CUT_S = 20, 0.2


@contextmanager
def _running(*command: str) -> Iterator[str]:
    """A process of ours and the first line that it prints; it ends with the block."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


async def drain(lines: Lines, folder: Path, hub_port: int, megabytes: int, *, rate: str, delay: str) -> None:
    """Ships a backlog and fresh events over one link; writes what became of both."""
    rule = StreamRule("result", 4_000_000_000, priority=20, order=Order.FRESH)
    noise = random.Random(1)
    link = ("--listen", "0", "--to", f"127.0.0.1:{hub_port}", "--rate", rate, "--delay", delay, "--json")
    with (
        _running("-m", "littoral", "link", *link) as told,
        Outbox(folder / "outbox", site="site", streams=(rule,)) as outbox,
    ):
        for _ in range(megabytes * 1_000_000 // BODY_BYTES // 100):
            outbox.put_many([("result", "old", noise.randbytes(BODY_BYTES)) for _ in range(100)])
        backlog = outbox.logs()[0].log
        await asyncio.sleep(rule.behind_s)
        wire = HubHttp(f"http://{json.loads(told)['link']}", tls=None)
        sender = Sender(random.Random(1), terms=terms_of((rule,)))
        shipping = Shipping(sender, outbox, wire, site="site", clock=RealClock())
        outbox.listen(shipping.notify)
        began_s = time.monotonic()
        running = asyncio.ensure_future(shipping.run())
        while any(log.log == backlog for log in outbox.logs()):
            # The first ones still join the backlog: it is noticed when something has waited for a second.
            kind = "fresh" if time.monotonic() - began_s > 2 * rule.behind_s else "old"
            await outbox.put_async("result", kind, b"%.6f" % time.monotonic())
            await asyncio.sleep(FRESH_EVERY_S)
            assert not running.done(), "the shipping ended"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await wire.close()
    figures = httpx.get(f"http://127.0.0.1:{hub_port}/figures", trust_env=False, timeout=60).json()
    batches = sender.counts.batches
    told_all = _drained(figures, began_s, rate)
    lines.write(kind="drain", rate=rate, delay=delay, megabytes=megabytes, batches=batches, **told_all)


def _drained(figures: dict[str, Any], began_s: float, rate: str) -> dict[str, Any]:
    arrivals = [(at_s, count) for at_s, count in figures["arrivals"] if at_s > began_s + SETTLE_S]
    span_s = arrivals[-1][0] - arrivals[0][0]
    carried = sum(count for _, count in arrivals[1:])
    behind = sorted(figures["behind_s"][int(SETTLE_S / FRESH_EVERY_S) :])
    return {
        "seconds": span_s,
        "share_of_link": carried / span_s / (bytes_per_ms(rate) * 1000),
        "fresh": len(behind),
        "behind_median_s": behind[len(behind) // 2],
        "behind_p99_s": behind[int(len(behind) * 0.99)],
        "behind_max_s": behind[-1],
        "duplicates": figures["duplicates"],
    }


async def blob(lines: Lines, folder: Path, hub_port: int, path: Path, rate: str) -> None:
    """Fetches a file over a link that cuts every connection `CUTS` times, evenly over the bytes."""
    size = path.stat().st_size
    fair = Forecast(Weather(bytes_per_ms(rate) * 1000, 0.005))
    link = ShapedLink("127.0.0.1", hub_port, fair)
    await link.start()
    cuts = 0

    async def cut() -> None:
        nonlocal cuts
        while cuts < CUTS:
            await asyncio.sleep(0.005)
            if link.down.bytes_carried >= (cuts + 1) * size / (CUTS + 1):
                link.change(Forecast(fair.base, fault=Fault.DROP))
                await asyncio.sleep(CUT_S)
                link.change(fair)
                cuts += 1

    cutting = asyncio.ensure_future(cut())
    wire = HubHttp(f"http://127.0.0.1:{link.port}", tls=None)
    transfers = Transfers(wire, clock=RealClock(), chance=random.Random(1), backoff=BackoffLimits(first_s=0.5))
    digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    began_s = time.monotonic()
    carried = await transfers.fetch(Blobs(folder / "blobs", 2 * size), digest, size)
    took_s = time.monotonic() - began_s
    cutting.cancel()
    await asyncio.gather(cutting, return_exceptions=True)
    await wire.close()
    await link.stop()
    lines.write(
        kind="blob",
        rate=rate,
        megabytes=size / 1e6,
        cuts=cuts,
        attempts=carried.attempts,
        seconds=took_s,
        repeated_share=carried.repeated_bytes / size,
        on_the_link_share=link.down.bytes_carried / size - 1,
    )


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--megabytes", type=int, default=1000, help="the backlog of the quick link (default 1000)")
    parser.add_argument("--blob-megabytes", type=int, default=100)
    parser.add_argument("--only", choices=("drain", "blob"))
    arguments = parser.parse_args(words)
    with lines_to(arguments.out) as lines, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines.write(**facts.run_facts("delivery_link", words))
        path = folder / "model"
        path.write_bytes(random.Random(2).randbytes(arguments.blob_megabytes * 1_000_000))
        runs = (("40Mbit/s", "20ms", arguments.megabytes), ("8Mbit/s", "50ms", arguments.megabytes // 10))
        for number, (rate, delay, megabytes) in enumerate(runs if arguments.only != "blob" else ()):
            with _running("benchmarks/delivery_hub.py", str(path)) as port:
                asyncio.run(drain(lines, folder / f"drain-{number}", int(port), megabytes, rate=rate, delay=delay))
        if arguments.only != "drain":
            with _running("benchmarks/delivery_hub.py", str(path)) as port:
                asyncio.run(blob(lines, folder, int(port), path, "80Mbit/s"))
    print(table.render(lines.kept))


if __name__ == "__main__":
    main(sys.argv[1:])
