"""What an agent remembers across restarts: one file, written whole or not at all and on the disk before it counts."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from littoral.core.desired import Desired, Document
from littoral.core.errors import Corrupt, Unavailable
from littoral.fleet.twin import Report

NOTHING = Desired(0, ())


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was desired last, how each document stood, the last report's version, and tries that never ended."""

    desired: Desired = NOTHING
    reports: tuple[Report, ...] = ()
    version: int = 0
    begun: tuple[tuple[str, str, int], ...] = ()


class Memory(Protocol):
    """Where an agent's memory lies. `save` returns when it would survive a power failure."""

    async def load(self) -> Remembered: ...

    async def save(self, remembered: Remembered) -> None: ...


class FileMemory:
    """A JSON file in the site's folder; the disk is waited for beside the loop."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def load(self) -> Remembered:
        """What was saved last; nothing where there is no file. `Corrupt` (`memory_wrong`) for a file that is none."""
        try:
            return _decode(await asyncio.to_thread(self._path.read_bytes))
        except FileNotFoundError:
            return Remembered()
        except OSError as error:
            raise Unavailable("file_unreadable", f"{self._path} cannot be read: {error.strerror}.") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Corrupt(
                "memory_wrong",
                f"{self._path} cannot be read: {error}. Delete it; what is desired is then fetched and applied anew.",
                path=str(self._path),
            ) from error

    async def save(self, remembered: Remembered) -> None:
        """Returns when it is on the disk; `Unavailable` (`file_unwritable`)."""
        try:
            await asyncio.to_thread(write_durably, self._path, msgspec.json.encode(remembered))
        except OSError as error:
            raise Unavailable("file_unwritable", f"{self._path} cannot be written: {error.strerror}.") from error


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file beside its place, syncs it, moves it there and syncs the folder."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Brings a folder's entries onto the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


class _Document(msgspec.Struct):
    kind: str
    name: str
    version: int
    body: bytes


class _Desired(msgspec.Struct):
    version: int
    documents: list[_Document]


class _Remembered(msgspec.Struct):
    desired: _Desired
    reports: list[Report]
    version: int
    begun: list[tuple[str, str, int]] = []


def _decode(content: bytes) -> Remembered:
    told = msgspec.json.decode(content, type=_Remembered)
    documents = tuple(Document(it.kind, it.name, it.version, it.body) for it in told.desired.documents)
    return Remembered(Desired(told.desired.version, documents), tuple(told.reports), told.version, tuple(told.begun))
