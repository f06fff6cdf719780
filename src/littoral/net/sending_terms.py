"""The words between the event sender and whoever drives it: what it is told, what it asks for, and by which terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Protocol

from littoral.core.errors import Invalid


class Log(Protocol):
    """A log of an outbox as it stands: it has entries `first` to `last`, with `bytes`. Empty: `first` > `last`."""

    @property
    def log(self) -> str: ...
    @property
    def site(self) -> str: ...
    @property
    def stream(self) -> str: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class StreamTerms:
    """How a stream may be sent: its greatest rate, whether over a metered link too, and how long its events may wait
    for others to travel with.
    """

    bytes_per_s: float = inf
    metered: bool = True
    linger_s: float = 0.0

    def __post_init__(self) -> None:
        if not (self.bytes_per_s > 0 and self.linger_s >= 0):
            raise Invalid("terms_wrong", "A stream needs a rate above 0 and a time to linger from 0.")


CLASS_TERMS: Mapping[str, StreamTerms] = {
    "audit": StreamTerms(),
    "result": StreamTerms(),
    "telemetry": StreamTerms(metered=False, linger_s=2.0),
    "bulk": StreamTerms(metered=False, linger_s=2.0),
}


@dataclass(frozen=True, slots=True)
class SendingLimits:
    """How much travels at once.

    A batch is cut to take about `batch_s` on the link as it is measured, so that a fresh event never waits long behind
    one, within the bytes given (on the wire; `payload_bytes_max` before packing). Logs with at most
    `quick_bytes_max` waiting travel in the quick lane, at most one batch every `quick_every_s`; larger ones in the
    bulk lane. In each up to `in_flight_max` batches may be under way: more than one or two only where the round trip
    is long.
    """

    batch_s: float = 0.2
    batch_bytes_min: int = 4 * 2**10
    batch_bytes_max: int = 2 * 2**20
    payload_bytes_max: int = 8 * 2**20
    entries_max: int = 5_000
    logs_max: int = 64
    quick_bytes_max: int = 64 * 2**10
    quick_every_s: float = 0.05
    in_flight_max: int = 4
    denied_pause_s: float = 60.0


class Lane(Enum):
    """Quick: little waits, so it overtakes. Bulk: a backlog, cut into batches that keep the link full."""

    QUICK = "quick"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Want:
    """Entries of a log after `after`, about `bytes_max` of them, at least one."""

    log: str
    stream: str
    after: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class Ship:
    """Effect: read what is wanted, in this order, within these bounds; say `Shipped`; send it as one batch."""

    batch: int
    wants: tuple[Want, ...]
    bytes_max: int
    count_max: int


@dataclass(frozen=True, slots=True)
class Free:
    """Effect: the hub has everything of this log up to `sequence`; it need not be kept."""

    log: str
    sequence: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """Effect: the hub will never take this one entry (`reason` is its error's code); keep it from blocking the rest."""

    log: str
    sequence: int
    reason: str


@dataclass(frozen=True, slots=True)
class Diverged:
    """Effect: the hub has more of this log than was ever stored here, so the store is an old copy. Nothing of the log
    is sent any more: its numbers mean other events at the hub.
    """

    log: str
    acknowledged: int
    last: int


@dataclass(frozen=True, slots=True)
class Wake:
    """Effect: step again by then, if nothing happens before."""

    at_s: float


Effect = Ship | Free | SetAside | Diverged | Wake


@dataclass(frozen=True, slots=True)
class Shipped:
    """News: what a batch holds and that it leaves now; `spans` has each log's first and last number, empty if there
    was nothing to send.
    """

    batch: int
    spans: Mapping[str, tuple[int, int]]
    entries: int
    payload_bytes: Mapping[str, int]
    wire_bytes: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """News: the hub answered a batch: for each of its logs, up to where it has everything; `hub_ms` it took itself."""

    batch: int
    acks: Mapping[str, int]
    retry_after_ms: float = 0.0
    hub_ms: float = 0.0


class Fault(Enum):
    """Why a batch was not acknowledged: no answer or a busy hub; a batch that it will not take; a site it will not."""

    LOST = "lost"
    UNFIT = "unfit"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Failed:
    """News: a batch was not acknowledged."""

    batch: int
    fault: Fault
    retry_after_ms: float = 0.0
    reason: str = ""


News = Shipped | Acknowledged | Failed


@dataclass(slots=True)
class SendingCounts:
    """What a sender has done since it began."""

    batches: int = 0
    entries: int = 0
    wire_bytes: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    repeats: int = 0
    set_aside: int = 0
    diverged: int = 0
