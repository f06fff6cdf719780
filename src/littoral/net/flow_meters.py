"""What crosses between a site and its hub, as metrics; read when somebody scrapes."""

from __future__ import annotations

from collections.abc import Iterator

from littoral.monitor.meters import Family
from littoral.net.desired import PollCounts
from littoral.net.resume import Carried
from littoral.net.sending import Sender

Rows = list[tuple[tuple[str, ...], float]]


def families(
    site: str, *, sender: Sender, polls: PollCounts, desired_version: int, blobs: Carried, now_s: float
) -> Iterator[Family]:
    """How each flow fares; what was sent and what waits, others tell."""

    def one(number: float) -> Rows:
        return [((site,), number)]

    label, counts, link = ("site",), sender.counts, sender.throughput.link.estimate(now_s=now_s)
    yield Family("event_batches", "Batches of events that left.", label, one(counts.batches), counts=True)
    yield Family("event_repeats", "Numbers of events that went again.", label, one(counts.repeats), counts=True)
    yield Family("events_set_aside", "Events that the hub would never take.", label, one(counts.set_aside), counts=True)
    yield Family("event_logs_diverged", "Logs of an old store.", label, one(counts.diverged), counts=True)
    yield Family("event_batches_under_way", "Batches not yet acknowledged.", label, one(len(sender.under_way)))
    # Only what was measured: a prior is no measurement.
    trip = _measured(site, link.round_trip_ms / 1e3, link.samples)
    yield Family("hub_round_trip_seconds", "A batch's time beside its bytes.", label, trip)
    rate = _measured(site, sender.throughput.bytes_per_s(now_s=now_s), link.samples)
    yield Family("hub_rate_bytes_per_second", "What the link to the hub is thought to carry.", label, rate)
    yield Family("desired_questions", "Questions for what is desired.", label, one(polls.asked), counts=True)
    yield Family("desired_changes", "Answers that told something new.", label, one(polls.changes), counts=True)
    yield Family("desired_failures", "Questions that were not answered.", label, one(polls.failures), counts=True)
    yield Family("desired_version", "The desired state that the site has taken over.", label, one(desired_version))
    attempts = one(blobs.attempts)
    yield Family("blob_attempts", "Transfers of files, begun or gone on with.", label, attempts, counts=True)
    yield Family("blob_bytes", "Bytes of files that crossed.", label, one(blobs.bytes), counts=True)
    repeated = one(blobs.repeated_bytes)
    yield Family("blob_repeated_bytes", "Of these, what had crossed before.", label, repeated, counts=True)


def _measured(site: str, number: float, samples: int) -> Rows:
    return [((site,), number)] if samples else []
