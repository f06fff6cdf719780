"""Many sites at one hub: real sockets, mutual TLS, a certificate each; its load, and what its restart brings on it.

    python benchmarks/delivery_sites.py --sites 1000 --out FILE.jsonl

The sites live in this process, the hub in one of its own. Each site follows what is desired (a long poll) and reports
every ten seconds, by the code and with the pauses of a real one. Their certificates are made in bulk by the hub's own
authority before it starts, since joining is limited for each network.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import facts
from benchmarks.lines import lines_to

REPORT_S = 10.0
SETTLE_S = 15.0


@dataclass(slots=True)
class Seen:
    """Requests that began, by second; what came back."""

    asked: Counter[int] = field(default_factory=Counter)
    reports: int = 0
    failures: int = 0

    def asks(self) -> None:
        self.asked[int(time.monotonic())] += 1


def run_hub(folder: Path, port: int) -> tuple[subprocess.Popen[bytes], str]:
    """The hub in a process of its own; its URL."""
    command = [sys.executable, "-m", "littoral", "hub", "run", str(folder), "--port", str(port), "--serve", "none"]
    process = subprocess.Popen([*command, "--json", "--log-level", "error"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["hub"]


def enter(folder: Path, count: int) -> list[Any]:
    """Makes sites: a key and a certificate each, and a row at the hub that does not run yet."""
    from littoral.hub import revoking, sites
    from littoral.hub.database import Database
    from littoral.hub.settings import HubSettings, read_file
    from littoral.identity.authority import Authority
    from littoral.identity.site import SiteIdentity

    authority, now_s = Authority.open(folder / "authority"), time.time()
    made = []
    database = Database.open(HubSettings(folder, read_file(folder)).database)
    try:
        for number in range(count):
            name = f"site-{number:04d}"
            identity = SiteIdentity.open(folder / "sites" / name)
            issued = authority.issue(identity.csr(), name, now_s)
            identity.install(issued.chain_pem, issued.bundle_pem)
            made.append(identity)

            def work(connection: Any, name: str = name, issued: Any = issued) -> None:
                sites.add(connection, name, {}, now_s=now_s)
                revoking.note_certificate(connection, name, issued.key, issued.until_s)

            database.write_now(work)
    finally:
        database.close()
    return made


async def live(identity: Any, hub: str, seen: Seen) -> None:
    """One site: its long poll, and its reports with a site's pauses."""
    from littoral.core.clock import RealClock
    from littoral.core.errors import LittoralError
    from littoral.edge.uplink import REPORT_BACKOFF
    from littoral.fleet.twin import Reported, encode_reported
    from littoral.net.backoff import Backoff
    from littoral.net.desired import DesiredPoll, Following
    from littoral.net.http import HubHttp

    wire, clock, chance = HubHttp(hub, tls=identity.client_context()), RealClock(), Random()

    class Counted:
        async def ask_desired(self, after: int, wait_s: float) -> Any:
            seen.asks()
            return await wire.ask_desired(after, wait_s)

    async def apply(_desired: Any) -> None:
        return None

    following = asyncio.ensure_future(Following(DesiredPoll(chance), Counted(), apply, clock=clock).run())
    backoff = Backoff(REPORT_BACKOFF, chance)
    try:
        while True:
            version = int(clock.wall_s() * 1e3)
            seen.asks()
            try:
                await wire.report(encode_reported(Reported(version=version, facts={"interval_s": REPORT_S})))
            except LittoralError:
                seen.failures += 1
                backoff.failed(now_s=clock.monotonic_s())
                await asyncio.sleep(max(0.0, backoff.until_s - clock.monotonic_s()))
                continue
            backoff.succeeded()
            seen.reports += 1
            await asyncio.sleep(REPORT_S)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await wire.close()


async def measure(folder: Path, identities: list[Any], seconds: float) -> dict[str, Any]:
    """Steady load, then a hub that dies and comes back."""
    import psutil

    process, hub = await asyncio.to_thread(run_hub, folder, 0)
    port = int(hub.rpartition(":")[2])
    seen = Seen()
    tasks = []
    for identity in identities:  # as sites are switched on: not all in one instant
        tasks.append(asyncio.ensure_future(live(identity, hub, seen)))
        await asyncio.sleep(REPORT_S / len(identities))
    try:
        await asyncio.sleep(SETTLE_S)
        watched, own = psutil.Process(process.pid), psutil.Process()
        before, own_before, reports, began_s = _cpu_s(watched), _cpu_s(own), seen.reports, time.monotonic()
        await asyncio.sleep(seconds)
        took_s = time.monotonic() - began_s
        steady = sum(seen.asked[second] for second in range(int(began_s) + 1, int(began_s + took_s))) / (took_s - 1)
        told: dict[str, Any] = {
            "hub_cores": (_cpu_s(watched) - before) / took_s,
            "sites_cores": (_cpu_s(own) - own_before) / took_s,
            "hub_mb": watched.memory_info().rss / 1e6,
            "reports_per_s": (seen.reports - reports) / took_s,
            "requests_per_s": steady,
            "failures": seen.failures,
        }
        process.kill()
        killed_s = time.monotonic()
        await asyncio.to_thread(process.wait)
        process, _ = await asyncio.to_thread(run_hub, folder, port)
        back_s, reports = time.monotonic(), seen.reports
        while seen.reports < reports + len(identities) and time.monotonic() < back_s + 120.0:
            await asyncio.sleep(0.1)
        peak = max(seen.asked[second] for second in range(int(killed_s) + 1, int(killed_s) + 60))
        told |= {
            "restart_s": back_s - killed_s,
            "all_back_s": time.monotonic() - back_s,
            "peak_requests_per_s": float(peak),
            "peak_over_steady": peak / steady,
        }
        return told
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        process.kill()
        process.wait()


def _cpu_s(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=40.0, help="of steady load")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as place, lines_to(arguments.out) as lines:
        folder = Path(place) / "hub"
        lines.write(**facts.run_facts("delivery_sites", words))
        init = [sys.executable, "-m", "littoral", "hub", "init", str(folder)]
        subprocess.run(init, check=True, capture_output=True)
        identities = enter(folder, arguments.sites)
        told = asyncio.run(measure(folder, identities, arguments.seconds))
        lines.write(kind="sites", sites=arguments.sites, report_every_s=REPORT_S, **told)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
