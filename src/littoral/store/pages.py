"""Rows of a SQLite file read from its pages alone, for when the tree above them is damaged.

Every leaf is looked at by itself, whatever points to it or does not; what cannot be parsed is passed over. The reader
learns a row's values and judges by its checksum whether to believe them. Pages in the journal count as far as SQLite
itself would take them: up to the last commit whose checksums hold. Formats: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from littoral.store.disk import Disk, Value
from littoral.store.space import PAGE_BYTES

TABLE_LEAF = 0x0D
_WAL_HEAD, _FRAME_HEAD = 32, 24
_LOCAL_MAX = PAGE_BYTES - 35
_LOCAL_MIN = (PAGE_BYTES - 12) * 32 // 255 - 23
_INT_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


class Pages:
    """The pages of a database as they stand: those in the journal before those in the file."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._path = path
        self._journal = path.with_name(path.name + "-wal")
        self._in_journal = dict(_committed(disk, self._journal))
        in_file = disk.size(path) // PAGE_BYTES
        self.count = max(in_file, *self._in_journal, 0) if self._in_journal else in_file

    def page(self, number: int) -> bytes:
        """A page, from 1; empty where there is none."""
        offset = self._in_journal.get(number)
        if offset is not None:
            return self._disk.read(self._journal, offset, PAGE_BYTES)
        return self._disk.read(self._path, (number - 1) * PAGE_BYTES, PAGE_BYTES)

    def rows(self) -> Iterator[tuple[Value, ...]]:
        """Every row of every table's leaves; the first value is the row's key."""
        for number in range(1, self.count + 1):
            page = self.page(number)
            head = 100 if number == 1 else 0
            if len(page) < PAGE_BYTES or page[head] != TABLE_LEAF:
                continue
            (cells,) = struct.unpack_from(">H", page, head + 3)
            for index in range(min(cells, PAGE_BYTES // 4)):
                row = self._row(page, head + 8 + 2 * index)
                if row is not None:
                    yield row

    def _row(self, page: bytes, pointer: int) -> tuple[Value, ...] | None:
        try:
            (start,) = struct.unpack_from(">H", page, pointer)
            size, start = _varint(page, start)
            key, start = _varint(page, start)
            if size > self.count * PAGE_BYTES:
                return None
            return (_signed(key), *_values(self._payload(page, start, size))[1:])
        except (IndexError, struct.error, ValueError):
            return None

    def _payload(self, page: bytes, start: int, size: int) -> bytes:
        """A row's record, with what of it lies on further pages."""
        local = size
        if size > _LOCAL_MAX:
            local = _LOCAL_MIN + (size - _LOCAL_MIN) % (PAGE_BYTES - 4)
            local = local if local <= _LOCAL_MAX else _LOCAL_MIN
        parts = [page[start : start + local]]
        missing = size - local
        next_page = struct.unpack_from(">I", page, start + local)[0] if missing else 0
        while missing > 0:
            further = self.page(next_page) if 0 < next_page <= self.count else b""
            if len(further) < PAGE_BYTES:
                raise ValueError
            parts.append(further[4 : 4 + min(missing, PAGE_BYTES - 4)])
            missing -= PAGE_BYTES - 4
            (next_page,) = struct.unpack_from(">I", further)
        return b"".join(parts)


def _values(record: bytes) -> list[Value]:
    """The columns of a record."""
    head, at = _varint(record, 0)
    kinds: list[int] = []
    while at < head:
        kind, at = _varint(record, at)
        kinds.append(kind)
    values: list[Value] = []
    for kind in kinds:
        value, at = _value(record, at, kind)
        values.append(value)
    if at > len(record):
        raise ValueError
    return values


def _value(record: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in _INT_SIZES:
        end = at + _INT_SIZES[kind]
        return int.from_bytes(record[at:end], "big", signed=True), end
    if kind == 7:
        return struct.unpack_from(">d", record, at)[0], at + 8
    if kind in (8, 9):
        return kind - 8, at
    if kind < 12:
        raise ValueError
    end = at + (kind - 12) // 2
    content = record[at:end]
    return (content if kind % 2 == 0 else content.decode(errors="replace")), end


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for _ in range(8):
        byte = content[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    return value << 8 | content[at], at + 1


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _committed(disk: Disk, journal: Path) -> Iterator[tuple[int, int]]:
    """Page > where its newest committed image lies in the journal, in the order of writing."""
    head = disk.read(journal, 0, _WAL_HEAD)
    if len(head) < _WAL_HEAD:
        return
    magic, _, page_bytes = struct.unpack_from(">III", head)
    order = ">" if magic & 1 else "<"
    check = _checksum(head[:24], (0, 0), order)
    if magic & ~1 != 0x377F0682 or page_bytes != PAGE_BYTES or check != struct.unpack_from(">II", head, 24):
        return
    waiting: list[tuple[int, int]] = []
    at = _WAL_HEAD
    while True:
        frame = disk.read(journal, at, _FRAME_HEAD + PAGE_BYTES)
        if len(frame) < _FRAME_HEAD + PAGE_BYTES or frame[8:16] != head[16:24]:
            return
        check = _checksum(frame[:8] + frame[_FRAME_HEAD:], check, order)
        if check != struct.unpack_from(">II", frame, 16):
            return
        number, commit = struct.unpack_from(">II", frame)
        waiting.append((number, at + _FRAME_HEAD))
        at += _FRAME_HEAD + PAGE_BYTES
        if commit:
            yield from waiting
            waiting.clear()


def _checksum(content: bytes, seed: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = seed
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = first + even + second & 0xFFFFFFFF
        second = second + odd + first & 0xFFFFFFFF
    return first, second
