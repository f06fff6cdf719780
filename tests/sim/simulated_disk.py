"""A disk in memory that loses power: what was synced stays, the rest stays, tears or vanishes as chance has it.

A file has what its readers see and what is on the platters; between them are the writes since its last sync. Names are
changed in order, and are on the platters once their folder was synced. `cut_after` stops the machine at its n-th step
(write, sync, change of a name); `restart` gives what the next boot finds. Faults come by chance or when told: a full
disk, a sync that fails (and loses what it should have kept, while readers still see it), a bit that falls over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from littoral.core.errors import Conflict, Unavailable
from littoral.store.disk import Connection, Held

SECTOR = 512


class Full(Exception):
    """There is no room for this write."""


class Failing(Exception):
    """The disk does not do what it was asked, or the machine has no power."""


@dataclass(slots=True)
class Plants:
    """Faults planted into the machine, for tests that prove that the simulation bites."""

    sync_is_forgotten: bool = False
    folder_sync_is_forgotten: bool = False


@dataclass(eq=False, slots=True)
class SimulatedFile:
    """A file: what readers see, what is on the platters, and what is between them."""

    seen: bytearray = field(default_factory=bytearray)
    kept: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, content) or (size, None)


class SimulatedDisk:
    """The `Disk` of one machine; paths are plain names to it."""

    def __init__(self, chance: Random, *, bytes_max: int = 1 << 40, plants: Plants | None = None) -> None:
        self.chance = chance
        self.bytes_max = bytes_max
        self.plants = plants or Plants()
        self.step = 0
        self.life = 0  # grows when processes end; what an ended one left open does nothing any more
        self.cut_after: int | None = None
        self.is_dead = False
        self.sync_fails: Callable[[], bool] = lambda: False
        self.failed_syncs = 0
        self._names: dict[str, SimulatedFile] = {}
        self._names_kept: dict[str, SimulatedFile] = {}
        self._changes: list[tuple[str, SimulatedFile | None]] = []  # a name and what it stands for from then on
        self._locks: set[str] = set()

    # Files, as SQLite and the store see them

    def exists(self, name: str) -> bool:
        return name in self._names

    def length(self, name: str) -> int:
        file = self._names.get(name)
        return len(file.seen) if file else 0

    def get(self, file: SimulatedFile, offset: int, count: int) -> bytes:
        self._alive()
        return bytes(file.seen[offset : offset + count])

    def create(self, name: str) -> SimulatedFile:
        """The file of that name; made where there is none."""
        if name not in self._names:
            self._step()
            self._change(name, SimulatedFile())
        return self._names[name]

    def put(self, file: SimulatedFile, offset: int, content: bytes) -> None:
        self._step()
        growth = offset + len(content) - len(file.seen)
        if growth > 0 and self.used() + growth > self.bytes_max:
            raise Full
        _apply(file.seen, offset, content)
        file.unsynced.append((offset, content))

    def cut(self, file: SimulatedFile, size: int) -> None:
        self._step()
        _apply(file.seen, size, None)
        file.unsynced.append((size, None))

    def flush(self, file: SimulatedFile) -> None:
        self._step()
        if self.plants.sync_is_forgotten:
            return
        if self.sync_fails():
            # As on Linux: what could not be written counts as clean from now on, and only the readers' copy has it.
            self.failed_syncs += 1
            self._tear(file)
            raise Failing
        file.kept[:] = file.seen
        file.unsynced.clear()

    def unlink(self, name: str) -> None:
        if name in self._names:
            self._step()
            self._change(name, None)

    def flush_folder(self) -> None:
        self._step()
        if not self.plants.folder_sync_is_forgotten:
            self._names_kept = dict(self._names)
            self._changes.clear()

    def used(self) -> int:
        return sum(len(file.seen) for file in self._names.values())

    # Power and other accidents

    def restart(self) -> None:
        """The power comes back: the machine finds what was on the platters, and of the rest what chance left."""
        for name, file in self._changes[: self.chance.randint(0, len(self._changes))]:
            if file is None:
                self._names_kept.pop(name, None)
            else:
                self._names_kept[name] = file
        for file in {id(file): file for file in self._names_kept.values()}.values():
            self._tear(file)
            file.seen = bytearray(file.kept)
        self._names = dict(self._names_kept)
        self._changes.clear()
        self._locks.clear()
        self.life += 1
        self.is_dead = False
        self.cut_after = None

    def kill(self) -> None:
        """The process ends, the machine does not: what was written is all there."""
        self._locks.clear()
        self.life += 1
        self.is_dead = False
        self.cut_after = None

    def flip(self, name: str, offset: int, bit: int) -> None:
        """A bit falls over on the platter; readers see it."""
        for content in {id(part): part for part in (self._names[name].seen, self._names[name].kept)}.values():
            if offset < len(content):
                content[offset] ^= 1 << bit

    def wipe(self) -> None:
        """The disk is replaced by an empty one."""
        self._names.clear()
        self._names_kept.clear()
        self._changes.clear()

    def _tear(self, file: SimulatedFile) -> None:
        """Of what was not synced, each sector arrived or did not."""
        for offset, content in file.unsynced:
            if content is None:
                if self.chance.random() < 0.5:
                    _apply(file.kept, offset, None)
                continue
            start = 0
            while start < len(content):
                end = start + SECTOR - (offset + start) % SECTOR
                if self.chance.random() < 0.5:
                    _apply(file.kept, offset + start, content[start:end])
                start = end
        file.unsynced.clear()

    def _change(self, name: str, file: SimulatedFile | None) -> None:
        if file is None:
            del self._names[name]
        else:
            self._names[name] = file
        self._changes.append((name, file))

    def _step(self) -> None:
        self._alive()
        self.step += 1
        if self.cut_after is not None and self.step >= self.cut_after:
            self.is_dead = True
            raise Failing

    def _alive(self) -> None:
        if self.is_dead:
            raise Failing

    # The store's `Disk`

    def connect(self, path: Path) -> Connection:
        from sim.simulated_sqlite import SimulatedConnection

        return SimulatedConnection(self, path)

    def hold(self, path: Path) -> Held:
        if str(path) in self._locks:
            raise Conflict("store_in_use", "Another process has it open.")
        self._locks.add(str(path))
        return _Lock(self._locks, str(path))

    def make_folder(self, path: Path) -> None:
        del path

    def names(self, folder: Path) -> list[str]:
        return sorted(Path(name).name for name in self._names if Path(name).parent == folder)

    def size(self, path: Path) -> int:
        return self.length(str(path))

    def read(self, path: Path, offset: int, count: int) -> bytes:
        with _told():
            file = self._names.get(str(path))
            return self.get(file, offset, count) if file else b""

    def write(self, path: Path, offset: int, content: bytes) -> None:
        with _told():
            self.put(self.create(str(path)), offset, content)

    def truncate(self, path: Path, size: int) -> None:
        with _told():
            self.cut(self._names[str(path)], size)

    def sync(self, path: Path) -> None:
        with _told():
            self.flush(self._names[str(path)])

    def sync_folder(self, folder: Path) -> None:
        with _told():
            self.flush_folder()

    def rename(self, path: Path, to: Path) -> None:
        with _told():
            self._step()
            file = self._names[str(path)]
            self._change(str(path), None)
            self._change(str(to), file)

    def remove(self, path: Path) -> None:
        with _told():
            self.unlink(str(path))


class _told:
    """Turns what the disk says into the errors that a `Disk` raises."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Full):
            raise Unavailable("disk_full", "The simulated disk is full.") from error
        if isinstance(error, Failing):
            raise Unavailable("disk_failing", "The simulated disk fails.") from error


class _Lock:
    def __init__(self, locks: set[str], name: str) -> None:
        self._locks = locks
        self._name = name

    def let_go(self) -> None:
        self._locks.discard(self._name)


def _apply(content: bytearray, offset: int, piece: bytes | None) -> None:
    if piece is None:
        del content[offset:]
        return
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(piece)] = piece
