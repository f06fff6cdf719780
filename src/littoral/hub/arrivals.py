"""A batch of a site's events takes effect, whichever way it came; what is acknowledged is on the disk."""

from __future__ import annotations

from littoral.hub.ingest import take
from littoral.hub.parts import Parts
from littoral.net.batch import Batch, BatchLimits
from littoral.net.receiving import Receipt, check_site

BATCH_LIMITS = BatchLimits()
BUSY_WRITES = 1_000
BUSY_RETRY_MS = 500.0


async def take_batch(parts: Parts, batch: Batch, site: str) -> Receipt:
    """Effect and marks in one transaction, then the receipt; `Denied` for a batch in another name than its sender's."""
    check_site(batch, site)
    began_s, now_s = parts.clock.monotonic_s(), parts.clock.wall_s()
    taken = await parts.database.write(lambda connection: take(connection, batch.entries, received_s=now_s))
    for entry in taken.fresh:
        parts.tally.stream(entry.stream)
    parts.tally.duplicates += taken.duplicates
    if taken.fresh:
        parts.watching.saw(taken.fresh)
        parts.events_fresh.fire()
    await parts.attendance.heard(site)
    return Receipt(
        acks=dict(taken.acks),
        retry_after_ms=BUSY_RETRY_MS if parts.database.waiting > BUSY_WRITES else 0.0,
        took_ms=(parts.clock.monotonic_s() - began_s) * 1e3,
        hub_time_s=now_s,
    )
