"""A batch of events as bytes: what one site sends up at once, packed small and read with suspicion.

    4 bytes  "LtE1"        one zstd frame with its checksum, and nothing after it, of:
    MessagePack            [site, [run, ...]]
    a run                  [log, stream, first sequence, [entry, ...]]
    an entry               [0, kind, wall_s, body]  or  [1, count, bytes lost, reason, wall_s]

A run is contiguous: an event takes one number, a drop as many as its count. So no number is written but the first, and
none can be left out. Whoever reads checks the length at hand before anything is inflated, inflates no further than
allowed, and lets no claimed length allocate more than the bytes that are there could fill.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from typing import Annotated

import msgspec

from littoral.core.errors import Invalid
from littoral.core.event import Dropped, Entry, Event

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT_TYPE = "application/vnd.littoral.events"
MAGIC = b"LtE1"
SEQUENCE_MAX = 2**63 - 1
RUNS_MAX = 256
ENTRIES_MAX = 10_000
ENTRY_BYTES = 32  # what an entry takes on the wire beside its body, about; for whoever plans a batch
_ZSTD_LEVEL = 3
_WINDOW_LOG_MAX = 23  # 8 MiB: what a reader is ready to set aside for looking back

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_Sequence = Annotated[int, msgspec.Meta(ge=1, le=SEQUENCE_MAX)]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a reader takes: bytes as they come, bytes once inflated, entries."""

    bytes_max: int = 4 * 2**20
    inflated_bytes_max: int = 16 * 2**20
    entries_max: int = ENTRIES_MAX


@dataclass(frozen=True, slots=True)
class Batch:
    """What a site sent at once; each log's entries in order."""

    site: str
    entries: tuple[Entry, ...]


class _Event(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag=0, gc=False):
    kind: _Name
    wall_s: float
    body: bytes


class _Dropped(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag=1, gc=False):
    count: _Sequence
    bytes_lost: Annotated[int, msgspec.Meta(ge=0, le=SEQUENCE_MAX)]
    reason: Annotated[str, msgspec.Meta(max_length=200)]
    wall_s: float


class _Run(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    log: _Name
    stream: _Name
    first: _Sequence
    entries: Annotated[list[_Event | _Dropped], msgspec.Meta(min_length=1, max_length=ENTRIES_MAX)]


class _Message(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    site: _Name
    runs: Annotated[list[_Run], msgspec.Meta(max_length=RUNS_MAX)]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Message)
_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: _ZSTD_LEVEL,
    zstd.CompressionParameter.checksum_flag: 1,
}


def encode_batch(site: str, entries: Iterable[Entry]) -> bytes:
    """One site's entries as bytes; `Invalid` (`batch_wrong`) for more runs or entries than a batch holds."""
    runs = list(_runs(site, entries))
    if len(runs) > RUNS_MAX or sum(len(run.entries) for run in runs) > ENTRIES_MAX:
        raise Invalid("batch_wrong", f"A batch holds {RUNS_MAX} runs and {ENTRIES_MAX} entries at most. Send fewer.")
    return MAGIC + zstd.compress(_ENCODER.encode(_Message(site, runs)), options=_OPTIONS)


def decode_batch(packed: bytes | memoryview, *, limits: BatchLimits = BatchLimits()) -> Batch:
    """The batch again; `Invalid` (`batch_wrong`, `batch_too_large`) for bytes that no `encode_batch` made.

    A bit that flipped on the way is found by the frame's checksum.
    """
    if len(packed) > limits.bytes_max:
        raise Invalid("batch_too_large", f"A batch of {len(packed)} bytes is over {limits.bytes_max}. Send less.")
    if bytes(packed[: len(MAGIC)]) != MAGIC:
        raise Invalid("batch_wrong", "These bytes are not a batch of events of a version that is known here.")
    try:
        message = _DECODER.decode(_inflate(packed[len(MAGIC) :], limits.inflated_bytes_max))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("batch_wrong", f"A batch of events cannot be read: {str(error)[:200]}.") from error
    if sum(len(run.entries) for run in message.runs) > limits.entries_max:
        raise Invalid("batch_too_large", f"A batch has more than {limits.entries_max} entries. Send fewer at once.")
    return Batch(message.site, tuple(entry for run in message.runs for entry in _entries(message.site, run)))


def _runs(site: str, entries: Iterable[Entry]) -> Iterator[_Run]:
    """Neighbours of one log that follow on each other, together."""
    for (log, stream), group in groupby(entries, key=lambda entry: (entry.log, entry.stream)):
        run: _Run | None = None
        after = 0
        for entry in group:
            assert entry.site == site, "a batch holds one site's entries"
            if run is None or entry.sequence != after + 1:
                if run is not None:
                    yield run
                run = _Run(log, stream, entry.sequence, [])
            run.entries.append(_wire(entry))
            after = entry.last
        if run is not None:
            yield run


def _wire(entry: Entry) -> _Event | _Dropped:
    if isinstance(entry, Event):
        return _Event(entry.kind, entry.wall_s, entry.body)
    return _Dropped(entry.last - entry.sequence + 1, entry.bytes_lost, entry.reason, entry.wall_s)


def _entries(site: str, run: _Run) -> Iterator[Entry]:
    sequence = run.first
    for entry in run.entries:
        if not isfinite(entry.wall_s):
            raise Invalid("batch_wrong", f"Entry {sequence} of log {run.log[:40]} happened at no time.")
        last = sequence if isinstance(entry, _Event) else sequence + entry.count - 1
        if last > SEQUENCE_MAX:
            raise Invalid("batch_wrong", f"Log {run.log[:40]} counts beyond {SEQUENCE_MAX}.")
        if isinstance(entry, _Event):
            yield Event(site, run.log, sequence, run.stream, entry.kind, entry.wall_s, entry.body)
        else:
            yield Dropped(site, run.log, sequence, last, run.stream, entry.bytes_lost, entry.reason, entry.wall_s)
        sequence = last + 1


def _inflate(frame: bytes | memoryview, bytes_max: int) -> bytes:
    """The one frame's content, never more of it than allowed, however far it would go on."""
    unpacker = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})
    try:
        content = unpacker.decompress(bytes(frame), max_length=bytes_max + 1)
    except zstd.ZstdError as error:
        raise Invalid("batch_wrong", f"A batch of events does not unpack: {error}.") from error
    if len(content) > bytes_max:
        raise Invalid("batch_too_large", f"A batch unpacks to more than {bytes_max} bytes. Send less at once.")
    if not unpacker.eof or unpacker.unused_data:
        raise Invalid("batch_wrong", "A batch of events breaks off, or something follows it.")
    return content
