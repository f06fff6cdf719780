"""Which messages were taken already, in a small file that is written round and round: it outlives this process.

A key is written after what it stands for is on the disk, and without a sync of its own. So a process that is killed
forgets one at most, and takes that one twice; a power failure may cost the last few.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from littoral.core.errors import Unavailable

KEY_BYTES = 32
_SLOT = struct.Struct(f">Q{KEY_BYTES}s")


class Seen:
    """The last `keys_max` keys. `open`, `note` each, `close`; used by one thread."""

    def __init__(self, path: Path, *, keys_max: int) -> None:
        self._path = path
        self._keys_max = keys_max
        self._descriptor = -1
        self._count = 0

    def open(self) -> list[bytes]:
        """What is remembered, oldest first; `Unavailable` (`disk_failing`) where the file cannot be used."""
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            content = os.pread(self._descriptor, self._keys_max * _SLOT.size, 0)
        except OSError as error:
            raise Unavailable("disk_failing", f"The disk fails at {self._path}: {error.strerror}.") from error
        whole = content[: len(content) // _SLOT.size * _SLOT.size]
        slots = sorted(slot for slot in _SLOT.iter_unpack(whole) if slot[0])
        self._count = slots[-1][0] if slots else 0
        return [key for _, key in slots]

    def note(self, key: bytes) -> None:
        """Remembers one more, in place of the oldest; a disk that does not take it costs the memory, not the work."""
        assert len(key) == KEY_BYTES, "keys are digests"
        if self._descriptor < 0:
            return
        self._count += 1
        try:
            os.pwrite(self._descriptor, _SLOT.pack(self._count, key), self._count % self._keys_max * _SLOT.size)
        except OSError:
            return

    def close(self) -> None:
        """Lets go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
