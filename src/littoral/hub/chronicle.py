"""What the hub itself notes: refusals, changes by people, sites that come and go; events like any other.

The hub is a site of its own with a log of its own. Refusals are noted at a bounded rate, since whoever is refused could
otherwise fill the disk by being refused again; how many were left out stands in the next one that is noted.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, insert, select, update

from littoral.core.clock import Clock
from littoral.core.errors import Plain
from littoral.core.event import Event
from littoral.hub import events
from littoral.hub.database import Database
from littoral.hub.schema import MARKS
from littoral.hub.signal import Signal
from littoral.monitor.log import log_of
from littoral.plan.allowance import TimedAllowance

_LOG = log_of("hub.audit")
REFUSALS_PER_S = 5.0
REFUSALS_AT_ONCE = 100.0


class Chronicle:
    """Writes the hub's own log; used on the hub's loop, `note` inside anybody's transaction.

    `fresh` fires when there are new events, the hub's own or a site's: whoever stores some beside `record` fires it.
    """

    def __init__(self, database: Database, *, site: str, clock: Clock) -> None:
        self.site = site
        self._database = database
        self._clock = clock
        self._log = "hub-" + secrets.token_hex(8)  # drawn anew with every start: nothing to restore, nothing to reuse
        self._allowance = TimedAllowance(REFUSALS_PER_S, REFUSALS_AT_ONCE)
        self._left_out = 0
        self.fresh = Signal()

    def note(self, connection: Connection, stream: str, kind: str, facts: Mapping[str, Plain]) -> None:
        """Adds one event of the hub's own to the transaction that is under way."""
        now_s = self._clock.wall_s()
        sequence = self._next(connection)
        body = msgspec.json.encode(dict(facts))
        event = Event(self.site, self._log, sequence, stream, kind, now_s, body)
        events.store(connection, [event], received_s=now_s)

    async def record(self, stream: str, kind: str, **facts: Plain) -> None:
        """Adds one event of the hub's own in a transaction for it."""
        await self._database.write(lambda connection: self.note(connection, stream, kind, facts))
        self.fresh.fire()

    async def refusal(self, kind: str, **facts: Plain) -> None:
        """Notes that somebody was refused, in the log at once and as an audit event within the rate."""
        _LOG.warning("Refused.", kind=kind, **facts)
        if not self._allowance.spend(1.0, now_s=self._clock.monotonic_s()):
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        told = {**facts, "left_out": left_out} if left_out else facts
        await self.record("audit", kind, **told)

    def _next(self, connection: Connection) -> int:
        """The next number of the hub's own log; its mark is in the database like anybody's."""
        at = (MARKS.c.site == self.site) & (MARKS.c.log == self._log)
        mark = connection.execute(select(MARKS.c.mark).where(at)).scalar()
        if mark is None:
            connection.execute(insert(MARKS).values(site=self.site, log=self._log, mark=1))
            return 1
        connection.execute(update(MARKS).where(at).values(mark=mark + 1))
        return int(mark) + 1
