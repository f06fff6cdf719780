"""Holds any disk and seal to what the store relies on: `check_store(disk, folder)` raises where a promise is broken.

For whoever brings a `Disk` of their own, or a `Seal`: the outbox, the inbox's rule and the blobs are put through it.
"""

from __future__ import annotations

import hashlib
from itertools import count
from pathlib import Path

from littoral.core.clock import ManualClock
from littoral.core.errors import Conflict, LittoralError
from littoral.core.event import Dropped, Event
from littoral.store.blobs import Blobs
from littoral.store.disk import Disk
from littoral.store.folder import Folder
from littoral.store.inbox import SqliteInbox
from littoral.store.intake import Put
from littoral.store.rules import EventKey, StreamRule
from littoral.store.sealing import Seal

BUDGET = 1_000_000
RULES = (StreamRule("result", 200_000, priority=1), StreamRule("bulk", 200_000))
SIZES = (0, 1, 100, 3000, 4096, 20_000)


def check_store(disk: Disk, folder: Path, *, seal: Seal | None = None) -> None:
    """Tries everything that the store promises, in a folder that is empty or not there yet.

    Raises `AssertionError` with the promise that is broken.
    """
    _check_files(disk, folder / "files")
    outbox = _open(disk, folder / "outbox", seal)
    keys = _put(outbox)
    _check_alone(disk, folder / "outbox", seal)
    outbox.close()
    outbox = _open(disk, folder / "outbox", seal)
    _check_delivery(disk, folder / "inbox.db", outbox, keys)
    outbox.close()
    _check_blobs(disk, folder / "blobs")


def _hold(is_kept: bool, promise: str) -> None:
    if not is_kept:
        raise AssertionError(promise)


def _check_files(disk: Disk, folder: Path) -> None:
    disk.make_folder(folder)
    path, other = folder / "a", folder / "b"
    _hold(disk.size(path) == 0 and disk.read(path, 0, 5) == b"", "A file that is not there is empty.")
    disk.write(path, 0, b"hello")
    disk.write(path, 3, b"p!!")
    disk.sync(path)
    _hold(disk.read(path, 1, 4) == b"elp!", "What was written is read.")
    disk.truncate(path, 4)
    disk.rename(path, other)
    disk.sync_folder(folder)
    _hold(disk.names(folder) == ["b"] and disk.size(other) == 4, "A file has its new name and its new size.")
    disk.remove(other)
    disk.remove(other)
    _hold(disk.names(folder) == [], "A file that was removed is gone, and removing it again does no harm.")


def _open(disk: Disk, path: Path, seal: Seal | None) -> Folder:
    names = count(len(disk.names(path)))
    return Folder(
        disk,
        path,
        site="site-1",
        streams=RULES,
        bytes_max=BUDGET,
        seal=seal,
        clock=ManualClock(),
        draw_log=lambda: f"log-{next(names)}",
    )


def _put(outbox: Folder) -> dict[EventKey, bytes]:
    stored: dict[EventKey, bytes] = {}
    for start in range(0, 120, 20):
        bodies = [b"%d:" % (start + index) + bytes(SIZES[index % len(SIZES)]) for index in range(20)]
        answers = outbox.write([Put("result", "check", body) for body in bodies])
        for answer, body in zip(answers, bodies, strict=True):
            if isinstance(answer, LittoralError):
                raise answer
            stored[answer] = body
        _hold(outbox.disk_bytes() <= BUDGET, "The folder stays within its budget.")
    return stored


def _check_alone(disk: Disk, path: Path, seal: Seal | None) -> None:
    try:
        _open(disk, path, seal).close()
    except Conflict:
        return
    _hold(False, "A folder that is open cannot be opened again.")


def _check_delivery(disk: Disk, path: Path, outbox: Folder, keys: dict[EventKey, bytes]) -> None:
    inbox = SqliteInbox(disk.connect(path))
    while states := outbox.ledger.logs():
        state = states[0]
        entries = outbox.pending(state.log, state.first - 1, bytes_max=30_000, count_max=50)
        _hold(len(entries) > 0, "Where something waits, at least one entry is given.")
        inbox.take(entries)
        known = inbox.take(entries)
        outbox.ledger.acknowledge(state.log, known[state.site, state.log])
    found = {}
    gone: set[EventKey] = set()
    for entry in inbox.entries():
        if isinstance(entry, Event):
            found[EventKey(entry.site, entry.log, entry.sequence)] = entry.body
        elif isinstance(entry, Dropped):
            gone |= {EventKey(entry.site, entry.log, number) for number in range(entry.sequence, entry.last + 1)}
    _hold(set(found) | gone == set(keys), "Every event took effect once, or a drop stands for it.")
    _hold(all(keys[key] == body for key, body in found.items()), "Every event is what was put.")
    outbox.tend(idle=True)
    _hold(outbox.disk_bytes() < BUDGET // 4, "An outbox that was drained is small.")


def _check_blobs(disk: Disk, folder: Path) -> None:
    content = bytes(range(256)) * 9000
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    blobs = Blobs(folder, 10_000_000, disk=disk)
    blobs.append(digest, blobs.begin(digest, len(content)), content[:1_500_000])
    again = Blobs(folder, 10_000_000, disk=disk)
    again.append_from(digest, content, again.begin(digest, len(content)))
    _hold(again.open(digest).read() == content, "A blob that broke off goes on and is what was sent.")
    again.verify(digest)
