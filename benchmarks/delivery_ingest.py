"""Ingest benchmark: events a second that a hub takes in, over real connections with mutual TLS, each on the disk.

    python benchmarks/delivery_ingest.py --out FILE.jsonl
    python benchmarks/delivery_ingest.py --database postgresql://USER@HOST/NAME

The hub runs in a process of its own; sites send batches, one after the other each, until the time is over.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import facts
from benchmarks.lines import lines_to

BODY = b'{"label":"crack","score":0.9312,"model":"surface-little","took_ms":3.1,"camera":"line-3-left"}'


def run_hub(folder: Path, database: str) -> tuple[subprocess.Popen[bytes], str]:
    """A hub in a process of its own, and its URL."""
    littoral = [sys.executable, "-m", "littoral", "hub"]
    more = ["--database", database] if database else []
    subprocess.run([*littoral, "init", str(folder), *more], check=True, capture_output=True)
    command = [*littoral, "run", str(folder), "--port", "0", "--serve", "none", "--json", "--log-level", "error"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["hub"]


def join(folder: Path, url: str, name: str) -> Any:
    """A site that has joined: its identity."""
    import httpx

    from littoral.identity.contexts import unverified_context
    from littoral.identity.conversations import joining
    from littoral.identity.enrol import JoinToken
    from littoral.identity.site import SiteIdentity

    headers = {"Authorization": "Bearer " + (folder / "admin.token").read_text().strip()}
    with httpx.Client(base_url=url, headers=headers, verify=unverified_context(), trust_env=False) as admin:
        made = admin.post("/v1/join-tokens", json={"site": name}).raise_for_status().json()
    identity = SiteIdentity.open(folder / "sites" / name)
    talk = joining(JoinToken.parse(made["text"]), name, identity)
    try:
        ask = next(talk)
        while True:
            with httpx.Client(base_url=url, verify=ask.context, trust_env=False) as client:
                ask = talk.send(client.request(ask.method, ask.path, content=ask.body).raise_for_status().content)
    except StopIteration:
        return identity


def send_all(identity: Any, url: str, batches: list[bytes], sent: list[float]) -> None:
    """Sends batches one after the other; `sent` gets the seconds that each took."""
    import httpx

    from littoral.net.batch import CONTENT_TYPE

    with httpx.Client(base_url=url, verify=identity.client_context(), trust_env=False, timeout=30) as client:
        for batch in batches:
            began_s = time.perf_counter()
            answer = client.post("/v1/events", content=batch, headers={"Content-Type": CONTENT_TYPE})
            answer.raise_for_status()
            sent.append(time.perf_counter() - began_s)


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the JSON lines here instead of to standard output")
    parser.add_argument("--database", default="", help="a PostgreSQL URL; SQLite where it is left out")
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--batch", type=int, default=500, help="events in a batch")
    parser.add_argument("--events", type=int, default=200_000, help="events of all sites together")
    arguments = parser.parse_args(words)

    from littoral.core.event import Event
    from littoral.net.batch import encode_batch

    with tempfile.TemporaryDirectory(prefix="littoral-ingest-") as base, lines_to(arguments.out) as lines:
        lines.write(**facts.run_facts("delivery_ingest", words))
        folder = Path(base) / "hub"
        process, url = run_hub(folder, arguments.database)
        try:
            each = arguments.events // arguments.sites // arguments.batch * arguments.batch
            sites = {f"site-{number}": join(folder, url, f"site-{number}") for number in range(arguments.sites)}
            batches = {
                name: [
                    encode_batch(name, [Event(name, "a", n, "result", "inference", 1.7e9, BODY) for n in numbers])
                    for numbers in (range(at, at + arguments.batch) for at in range(1, each + 1, arguments.batch))
                ]
                for name in sites
            }
            took: list[float] = []
            senders = [
                threading.Thread(target=send_all, args=(identity, url, batches[name], took))
                for name, identity in sites.items()
            ]
            began_s = time.perf_counter()
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
            seconds = time.perf_counter() - began_s
            took.sort()
            lines.write(
                kind="ingest",
                database="postgresql" if arguments.database else "sqlite",
                sites=arguments.sites,
                batch=arguments.batch,
                events=each * arguments.sites,
                seconds=seconds,
                events_per_s=each * arguments.sites / seconds,
                body_bytes=len(BODY),
                batch_p50_ms=1e3 * took[len(took) // 2],
                batch_p99_ms=1e3 * took[int(0.99 * (len(took) - 1))],
            )
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main(sys.argv[1:])
