"""Large contents by their SHA-256: they arrive in pieces, resume where they stopped, and are there once they are whole.

A piece is synced before what lies a megabyte beyond it is written, so what a power cut leaves is trusted up to the last
whole megabyte, and the digest decides in the end. A name appears in its folder only after the content is on the disk.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from littoral.core.errors import Conflict, Corrupt, Invalid, NotFound, Overloaded
from littoral.store.disk import Disk, RealDisk

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SYNC_BYTES = 1_048_576
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class _Coming:
    """A blob that is arriving."""

    __slots__ = ("digest_so_far", "offset", "size")

    def __init__(self, size: int, offset: int) -> None:
        self.size = size
        self.offset = offset
        self.digest_so_far = hashlib.sha256()


class Blobs:
    """A folder of blobs, at most `bytes_max` of them together; those used longest ago give way, pinned ones never.

    Digests are written `sha256:` and 64 hexadecimal digits. Safe to use from several threads of one process.
    """

    def __init__(self, folder: str | Path, bytes_max: int, *, disk: Disk | None = None) -> None:
        self._disk = disk or RealDisk()
        self._whole = Path(folder) / "whole"
        self._parts = Path(folder) / "parts"
        self._pins = Path(folder) / "pins"
        self._bytes_max = bytes_max
        self._lock = threading.RLock()
        self._coming: dict[str, _Coming] = {}
        for place in (self._whole, self._parts, self._pins):
            self._disk.make_folder(place)
        self._used: dict[str, None] = dict.fromkeys(self._disk.names(self._whole))  # the longest ago first

    # In

    def begin(self, digest: str, size: int) -> int:
        """Says at which byte a blob of `size` bytes goes on: `size` itself where it is here already.

        Makes room for it; `Overloaded` where what is pinned or arriving leaves none.
        """
        name = _name(digest)
        if size < 0 or size > self._bytes_max:
            raise Invalid("blob_too_large", f"A blob of {size} bytes is over the {self._bytes_max} allowed here.")
        with self._lock:
            if name in self._used:
                return self._disk.size(self._whole / name)
            if name not in self._coming:
                self._coming[name] = self._resume(name, size)
            coming = self._coming[name]
            coming.size = size
            self._make_room(size - coming.offset)
            return coming.offset

    def append(self, digest: str, offset: int, content: bytes) -> int:
        """Adds a piece that starts at `offset`, which must be where the blob stands; says where it stands then."""
        name = _name(digest)
        with self._lock:
            coming = self._coming.get(name)
            if coming is None:
                raise NotFound("blob_unknown", f"Nothing is arriving under {digest}. Begin it first.")
            if offset != coming.offset:
                raise Conflict(
                    "offset_wrong", f"The blob stands at byte {coming.offset}, not {offset}.", offset=coming.offset
                )
            if offset + len(content) > coming.size:
                raise Invalid("blob_too_long", f"The blob was said to have {coming.size} bytes. Begin it again.")
            path, rest = self._parts / name, memoryview(content)
            while rest:
                piece = rest[: SYNC_BYTES - coming.offset % SYNC_BYTES]
                self._disk.write(path, coming.offset, bytes(piece))
                coming.digest_so_far.update(piece)
                coming.offset += len(piece)
                rest = rest[len(piece) :]
                if coming.offset % SYNC_BYTES == 0:
                    self._disk.sync(path)
            return coming.offset

    def finish(self, digest: str) -> None:
        """Checks that the blob is whole and is what its digest says; from then on it survives anything.

        `Corrupt` where it is something else: what arrived is thrown away, and it must be begun again.
        """
        name = _name(digest)
        with self._lock:
            if name in self._used:
                return
            coming = self._coming.get(name)
            if coming is None:
                raise NotFound("blob_unknown", f"Nothing is arriving under {digest}. Begin it first.")
            if coming.offset != coming.size:
                raise Conflict(
                    "blob_incomplete", f"{coming.size - coming.offset} bytes are still to come.", offset=coming.offset
                )
            path = self._parts / name
            if coming.digest_so_far.hexdigest() != name:
                self._abandon(name)
                raise Corrupt("digest_differs", f"What arrived is not {digest}. Send it again.")
            if coming.size == 0:
                self._disk.write(path, 0, b"")
            self._disk.sync(path)
            self._disk.rename(path, self._whole / name)
            self._disk.sync_folder(self._whole)
            self._disk.sync_folder(self._parts)
            del self._coming[name]
            self._used[name] = None

    def abandon(self, digest: str) -> None:
        """Throws away what arrived of a blob that will not come."""
        with self._lock:
            self._abandon(_name(digest))

    def add(self, content: bytes) -> str:
        """Stores a content that is at hand, and says its digest."""
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        self.append_from(digest, content, self.begin(digest, len(content)))
        return digest

    def append_from(self, digest: str, content: bytes, offset: int) -> None:
        """Adds what is missing of a content that is at hand, and finishes it."""
        if offset < len(content):
            self.append(digest, offset, content[offset:])
        self.finish(digest)

    # Out

    def __contains__(self, digest: str) -> bool:
        with self._lock:
            return _name(digest) in self._used

    def digests(self) -> list[str]:
        """Every blob that is here, whole."""
        with self._lock:
            return [f"sha256:{name}" for name in self._used]

    def size(self, digest: str) -> int:
        """A blob's length in bytes."""
        return self._disk.size(self.path(digest))

    def path(self, digest: str) -> Path:
        """The file of a blob that is here; pin it while its file is in use."""
        name = _name(digest)
        with self._lock:
            if name not in self._used:
                raise NotFound("blob_unknown", f"There is no blob {digest} here.")
            del self._used[name]
            self._used[name] = None
        return self._whole / name

    def read(self, digest: str, offset: int, count: int) -> bytes:
        """Up to `count` bytes of a blob from `offset`."""
        return self._disk.read(self.path(digest), offset, count)

    def open(self, digest: str) -> BinaryIO:
        """A blob as a file to read from."""
        return io.BufferedReader(_Reader(self._disk, self.path(digest), self.size(digest)))

    def verify(self, digest: str) -> None:
        """Reads a blob and compares it with its digest; one that is damaged is removed, and that is `Corrupt`."""
        found = hashlib.sha256()
        with self.open(digest) as file:
            while piece := file.read(SYNC_BYTES):
                found.update(piece)
        if found.hexdigest() != _name(digest):
            self._remove(_name(digest))
            raise Corrupt("digest_differs", f"The blob {digest} was damaged on the disk. Fetch it again.")

    # What stays

    def pin(self, digest: str) -> None:
        """Keeps a blob, here or to come, until it is unpinned; that outlives a restart."""
        with self._lock:
            self._disk.write(self._pins / _name(digest), 0, b"")
            self._disk.sync_folder(self._pins)

    def unpin(self, digest: str) -> None:
        """Lets a blob go when its room is needed."""
        with self._lock:
            self._disk.remove(self._pins / _name(digest))
            self._disk.sync_folder(self._pins)

    def collect(self, keep: Collection[str] | None = None) -> int:
        """Removes what nobody arriving or pinned needs: unfinished pieces from before the start, and, where `keep` is
        given, every blob that is not in it. Says how many bytes that freed.
        """
        with self._lock:
            pinned = self._pinned()
            freed = 0
            for name in self._disk.names(self._parts):
                if name not in self._coming and name not in pinned:
                    freed += self._disk.size(self._parts / name)
                    self._disk.remove(self._parts / name)
            if keep is not None:
                kept = {_name(digest) for digest in keep} | pinned
                freed += sum(self._remove(name) for name in list(self._used) if name not in kept)
            return freed

    def bytes_used(self) -> int:
        """What blobs take, those that are arriving included."""
        with self._lock:
            whole = sum(self._disk.size(self._whole / name) for name in self._used)
            return whole + sum(self._disk.size(self._parts / name) for name in self._disk.names(self._parts))

    # Inside

    def _resume(self, name: str, size: int) -> _Coming:
        """What is left of a blob whose arrival another process began: whole megabytes of it are on the disk."""
        path = self._parts / name
        offset = self._disk.size(path) // SYNC_BYTES * SYNC_BYTES
        if offset > size:
            self._disk.remove(path)
            offset = 0
        elif self._disk.size(path) > offset:
            self._disk.truncate(path, offset)
        coming = _Coming(size, offset)
        for start in range(0, offset, SYNC_BYTES):
            coming.digest_so_far.update(self._disk.read(path, start, SYNC_BYTES))
        return coming

    def _make_room(self, need: int) -> None:
        promised = sum(coming.size - coming.offset for coming in self._coming.values())
        short = self.bytes_used() + promised - self._bytes_max
        pinned = self._pinned()
        for name in list(self._used):
            if short <= 0:
                return
            if name not in pinned:
                short -= self._remove(name)
        if short > 0:
            raise Overloaded("blobs_full", f"There is no room for {need} more bytes. Unpin or remove other blobs.")

    def _pinned(self) -> set[str]:
        return set(self._disk.names(self._pins))

    def _remove(self, name: str) -> int:
        with self._lock:
            size = self._disk.size(self._whole / name)
            self._disk.remove(self._whole / name)
            self._used.pop(name, None)
            return size

    def _abandon(self, name: str) -> None:
        self._coming.pop(name, None)
        self._disk.remove(self._parts / name)


class _Reader(io.RawIOBase):
    """A file of a disk, to be read and sought in."""

    def __init__(self, disk: Disk, path: Path, size: int) -> None:
        self._disk = disk
        self._path = path
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        content = self._disk.read(self._path, self._at, len(view))
        view[: len(content)] = content
        self._at += len(content)
        return len(content)


def _name(digest: str) -> str:
    found = _DIGEST.fullmatch(digest)
    if found is None:
        raise Invalid("digest_malformed", "A digest is 'sha256:' and 64 hexadecimal digits.")
    return found[1]
