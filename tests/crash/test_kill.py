"""A process that stores events is killed at a random instant, again and again: everything it confirmed is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

from littoral.core.event import Dropped, Entry, Event
from littoral.store.blobs import Blobs
from littoral.store.outbox import Outbox

CYCLES = 8
SCRIPT = Path(__file__).parent / "storing.py"


def store_and_kill(folder: Path, start: int, lines: int) -> list[list[str]]:
    """Lets a process store events, kills it once it has told `lines` of them, and says what it told."""
    child = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), str(start)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert child.stdout is not None
    told = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    told += child.stdout.readlines()  # what it had told before the signal came
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    return [line.split() for line in told if line.endswith("\n")]


def everything(outbox: Outbox) -> list[Entry]:
    """All entries of all logs. A stream in kept order shows one log at a time, so each is acknowledged once read."""
    found: list[Entry] = []
    while states := outbox.logs():
        for state in states:
            after = state.first - 1
            while after < state.last:
                entries = outbox.pending(state.log, after)
                found += entries
                after = entries[-1].last
            outbox.acknowledge(state.log, after)
    return found


def test_what_was_confirmed_is_there_however_often_the_process_is_killed(tmp_path: Path) -> None:
    # given a process that is killed at eight instants while four threads store events
    chance = Random(os.getpid())
    stored: dict[tuple[str, int], bytes] = {}
    acknowledged: dict[str, int] = {}
    blobs: set[str] = set()
    for cycle in range(CYCLES):
        for what, *words in store_and_kill(tmp_path, cycle * 10_000_000, chance.randint(1, 250)):
            if what == "stored":
                key = (words[0], int(words[1]))
                assert key not in stored, "a number was given twice"
                stored[key] = words[2].encode()
            elif what == "acknowledged":
                acknowledged[words[0]] = int(words[1])
            else:
                blobs.add(words[0])

    # when the store is opened again
    with Outbox(tmp_path / "outbox", site="edge-1", bytes_max=20_000_000) as outbox:
        found = everything(outbox)
    kept = Blobs(tmp_path / "blobs", 50_000_000)

    # then all that was confirmed and not acknowledged is there, in its place and in order
    events = {(entry.log, entry.sequence): entry.body for entry in found if isinstance(entry, Event)}
    drops = [entry for entry in found if isinstance(entry, Dropped)]
    missing = [
        key
        for key, body in stored.items()
        if key[1] > acknowledged.get(key[0], 0)
        and events.get(key) != body
        and not any(drop.log == key[0] and drop.sequence <= key[1] <= drop.last for drop in drops)
    ]
    assert len(stored) > CYCLES
    assert missing == []
    assert len(set(events.values())) == len(events)
    for digest in blobs & set(kept.digests()):
        kept.verify(digest)
    assert len(blobs & set(kept.digests())) >= min(len(blobs), 5)
