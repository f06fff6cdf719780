"""What a placer counts and knows, as metrics; read when somebody scrapes, so that no request pays for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from littoral.monitor.meters import Family
from littoral.net.breaker import BreakerState
from littoral.net.estimate import LinkEstimate
from littoral.runtime.packing import Packing
from littoral.runtime.peer import Peer
from littoral.runtime.placer import Placer

_MODEL, _UPSTREAM, _CODEC = ("model",), ("upstream",), ("model", "codec")


def families(placer: Placer) -> Iterator[Family]:
    """Every metric about placing, cascades and upstreams."""
    counts = sorted(placer.counts.items())
    yield Family(
        "placed_requests",
        "Requests that could be answered elsewhere, by how they went; each is counted once.",
        ("model", "route"),
        [((name, route), number) for name, one in counts for route, number in one.routes.items()],
        counts=True,
    )
    yield Family(
        "degraded_answers",
        "Answers that are not what the plan wanted, by reason.",
        ("model", "reason"),
        [((name, reason), number) for name, one in counts for reason, number in one.degraded.items()],
        counts=True,
    )
    hedges = [((name,), one.hedges) for name, one in counts]
    yield Family("hedged_requests", "Requests that ran here and upstream at once.", _MODEL, hedges, counts=True)
    audits = [((name,), one.audits) for name, one in counts]
    yield Family("audits_sent", "Confident answers that were checked upstream.", _MODEL, audits, counts=True)
    late = [((name,), one.corrections) for name, one in counts]
    yield Family("corrections", "Answers of upstreams that came after their request's.", _MODEL, late, counts=True)
    yield from _cascades(placer)
    yield from _packing(placer.packing)
    yield from _upstreams(placer.peers, {peer.name: peer.known() for peer in placer.peers})


def _cascades(placer: Placer) -> Iterator[Family]:
    cascades = sorted(placer.cascades.items())
    seen = [((name,), one.audits.count) for name, one in cascades]
    yield Family("audits", "Audits that were answered.", _MODEL, seen, counts=True)
    otherwise = [((name,), one.audits.otherwise) for name, one in cascades]
    yield Family("audits_different", "Audits where the big model answered otherwise.", _MODEL, otherwise, counts=True)
    holds = [((name,), float(one.promise_holds)) for name, one in cascades]
    yield Family("promise_holds", "1 while the audits do not contradict the cascade's promise, else 0.", _MODEL, holds)


def _packing(packing: Packing) -> Iterator[Family]:
    """What packing inputs saves, and what it does to the answers."""
    forms = list(packing.all_forms())
    packed = [((model, form.name), form.packed) for model, form in forms]
    yield Family("inputs_packed", "Inputs that crossed packed.", _CODEC, packed, counts=True)
    saved = [((model, form.name), form.saved_bytes) for model, form in forms]
    yield Family("inputs_saved_bytes", "Bytes that packing has saved.", _CODEC, saved, counts=True)
    tries = [((model, form.name), len(form.tries)) for model, form in forms]
    yield Family("codec_tries", "Recent pictures that were answered here packed and as they came.", _CODEC, tries)
    changed = [((model, form.name), sum(form.tries)) for model, form in forms]
    yield Family("codec_changes", "Of those, the ones whose answer the packing changed.", _CODEC, changed)
    offered = [((model, form.name), float(form.known and (form.lossless or form.fits))) for model, form in forms]
    yield Family("codec_offered", "1 for a codec that a crossing may take, else 0.", _CODEC, offered)


def _upstreams(peers: Sequence[Peer], known: dict[str, LinkEstimate]) -> Iterator[Family]:
    asked = [((peer.name,), peer.asked) for peer in peers]
    yield Family("upstream_requests", "Calls to an upstream.", _UPSTREAM, asked, counts=True)
    answered = [((peer.name,), peer.answered) for peer in peers]
    yield Family("upstream_answers", "Calls that an upstream answered rightly.", _UPSTREAM, answered, counts=True)
    sent = [((peer.name,), peer.bytes_up) for peer in peers]
    yield Family("upstream_sent_bytes", "Bytes of inputs sent to an upstream.", _UPSTREAM, sent, counts=True)
    states = [
        ((peer.name, state.value), float(peer.breaker.state is state)) for peer in peers for state in BreakerState
    ]
    yield Family("upstream_breaker", "1 for the state that the breaker is in.", ("upstream", "state"), states)
    # Only what was measured: a prior is no measurement.
    measured = [(peer, known[peer.name]) for peer in peers if known[peer.name].samples]
    trips = [((peer.name,), link.round_trip_ms / 1e3) for peer, link in measured]
    yield Family("upstream_round_trip_seconds", "An empty call's time on the link.", _UPSTREAM, trips)
    rates = [((peer.name,), link.bytes_per_ms * 1e3) for peer, link in measured]
    yield Family("upstream_rate_bytes_per_second", "The link's rate.", _UPSTREAM, rates)
    ages = [((peer.name,), link.age_s) for peer, link in measured]
    yield Family("upstream_estimate_age_seconds", "Since the last call that was measured.", _UPSTREAM, ages)
