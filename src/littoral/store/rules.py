"""How each stream is stored and sent, and what the outbox tells about its logs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from littoral.core.errors import Invalid
from littoral.core.ident import check_name

MB = 1_000_000
DAY_S = 86_400.0


class WhenFull(Enum):
    """What gives way where there is no room for another event.

    Where only the stream's own budget is used up, its own events do. Where the whole outbox or the disk is full,
    DROP_LOWEST takes from streams of lower priority first and from its own last, the others the other way round.
    A stream that REJECTs takes from nobody, and gives to nobody.
    """

    REJECT = "reject"
    DROP_OLDEST = "drop_oldest"
    DROP_LOWEST = "drop_lowest"
    THIN_OUT = "thin_out"


class Order(Enum):
    """KEPT: events leave in the order they came. FRESH: where a backlog has formed, new events go ahead of it."""

    KEPT = "kept"
    FRESH = "fresh"


@dataclass(frozen=True, slots=True)
class StreamRule:
    """One stream: its room, its rank, and what becomes of its events when things get tight.

    `bytes_max` bounds what waits, `age_s_max` how long, in seconds that this site was running (a clock that jumps makes
    nothing old). Streams of a higher `priority` go first. The sender keeps to `rate_bytes_s_max`; `metered` says
    whether the stream may use a link that is paid by the byte. `behind_s` is how old the oldest unsent event may be
    before new ones of a FRESH stream go ahead.
    """

    name: str
    bytes_max: int = 64 * MB
    age_s_max: float | None = None
    priority: int = 0
    rate_bytes_s_max: float | None = None
    metered: bool = True
    order: Order = Order.KEPT
    when_full: WhenFull = WhenFull.DROP_OLDEST
    behind_s: float = 1.0

    def __post_init__(self) -> None:
        check_name(self.name, what="stream")
        positive = [self.bytes_max, self.behind_s, self.age_s_max or 1.0, self.rate_bytes_s_max or 1.0]
        if min(positive) <= 0:
            raise Invalid("stream_wrong", f"The limits of stream {self.name!r} must be above zero.", stream=self.name)


STREAMS: tuple[StreamRule, ...] = (
    StreamRule("audit", 32 * MB, priority=30, when_full=WhenFull.REJECT),
    StreamRule("result", 128 * MB, 90 * DAY_S, priority=20, order=Order.FRESH, when_full=WhenFull.DROP_LOWEST),
    StreamRule("telemetry", 64 * MB, 30 * DAY_S, priority=10, order=Order.FRESH, when_full=WhenFull.THIN_OUT),
    StreamRule("bulk", 256 * MB, 30 * DAY_S, priority=0, metered=False),
)
"""The streams that every site has unless it is told others."""


@dataclass(frozen=True, slots=True)
class EventKey:
    """The name of one stored event; no two events ever share one."""

    site: str
    log: str
    sequence: int


@dataclass(frozen=True, slots=True)
class LogState:
    """A log with something to send: entries `first` to `last`, `count` rows, about `bytes` bytes on the disk.

    `is_fresh` says that new events go here; the others are backlog.
    """

    log: str
    site: str
    rule: StreamRule
    first: int
    last: int
    count: int
    bytes: int
    is_fresh: bool

    @property
    def stream(self) -> str:
        return self.rule.name

    @property
    def priority(self) -> int:
        return self.rule.priority


@dataclass(frozen=True, slots=True)
class Tally:
    """What one stream lost for one reason since the store was made."""

    stream: str
    reason: str
    count: int
    bytes: int
