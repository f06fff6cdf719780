"""What needs somebody: each alarm says what is wrong, since when, and what to do next; judged when it is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from littoral.hub.attendance import Standing
from littoral.hub.watching import WORD_CHARACTERS_MAX, Drift, Watched, promises_of
from littoral.monitor.drift import INDEX_ALARM

HOT_C = 80.0
DISK_SHARE_MAX = 0.9
BACKLOG_S_MAX = 300.0
NEAR = 0.9
KINDS_SHOWN_MAX = 6


class Alarm(msgspec.Struct, frozen=True):
    """`level` is "bad" or "warn"; `since_s` in seconds since 1970."""

    site: str
    code: str
    level: str
    since_s: float
    message: str
    next: str


def alarms_of(seen: Iterable[tuple[Standing, Watched | None]]) -> list[Alarm]:
    """Of all sites, the bad ones first and of these the longest standing."""
    return in_order(alarm for standing, watched in seen for alarm in _of(standing, watched))


def in_order(found: Iterable[Alarm]) -> list[Alarm]:
    """The bad ones first, and of these the longest standing."""
    return sorted(found, key=lambda alarm: (alarm.level != "bad", alarm.since_s, alarm.site))


def _of(standing: Standing, watched: Watched | None) -> Iterator[Alarm]:
    if standing.revoked_s is not None:
        return
    name, state = standing.name, standing.presence.state
    if state in ("silent", "gone"):
        yield Alarm(
            name,
            "site_silent",
            "bad",
            standing.last_seen_s,
            "The site does not report. It answers by itself and keeps its events until the hub is back.",
            "Look at its power and its link; on the machine: littoral check",
        )
    if watched is None or watched.telling is None:
        return
    telling, since_s = watched.telling, watched.told_s
    host = telling.host or {}
    heat = host.get("temperature_c")
    if isinstance(heat, int | float) and heat >= HOT_C:
        yield Alarm(
            name, "hot", "warn", since_s, f"The machine is at {heat:.0f} °C.", "Cool it: it slows down when hot."
        )
    used, total = host.get("disk_used_bytes"), host.get("disk_total_bytes")
    if isinstance(used, int | float) and isinstance(total, int | float) and total > 0 and used > DISK_SHARE_MAX * total:
        yield Alarm(
            name,
            "disk_full",
            "bad",
            since_s,
            f"The disk is {used / total:.0%} full.",
            "Make room there, or lower the outbox's budget.",
        )
    outbox = telling.outbox
    if outbox is not None and outbox.dropped:
        yield Alarm(
            name,
            "events_dropped",
            "warn",
            since_s,
            f"{outbox.dropped} events were dropped, by the streams' rules. Each drop is on record.",
            f"littoral outbox status on the machine; here: littoral events tail --site {name}",
        )
    if outbox is not None and any(one.events and one.oldest_s > BACKLOG_S_MAX for one in outbox.streams):
        yield Alarm(
            name,
            "backlog",
            "warn",
            since_s,
            "Events wait longer than five minutes for the hub.",
            "Look at the link's rate; a metered link sends only what its classes allow.",
        )
    yield from _promises(name, watched)
    yield from (_drifted(name, one, since_s) for one in telling.drift if one.drifted)


def _promises(name: str, watched: Watched) -> Iterator[Alarm]:
    promises, since_s = promises_of(watched), watched.told_s
    if promises["on_time_held"] is False:
        yield Alarm(
            name,
            "late",
            "bad",
            since_s,
            f"{1 - promises['on_time_share']:.1%} of the answers came after their deadline.",
            "Give requests more time, a smaller model, or a faster machine: littoral profile MODEL",
        )
    if promises["accuracy_held"] is False:
        yield Alarm(
            name,
            "promise_broken",
            "bad",
            since_s,
            "Audits contradict the cascade's promise: what the camera sees has changed.",
            "littoral calibrate with newer pictures",
        )
    share, most = promises["escalated_share"], promises["escalation_max"]
    if share is not None and most is not None and 0 < most < 1 and share > NEAR * most:
        yield Alarm(
            name,
            "promise_at_risk",
            "warn",
            since_s,
            f"{share:.0%} of the requests escalate, of at most {most:.0%}.",
            "littoral calibrate with newer pictures, or allow more: --max-escalation",
        )


def _drifted(name: str, one: Drift, since_s: float) -> Alarm:
    kinds = dict(islice(one.drifted.items(), KINDS_SHOWN_MAX))
    what = ", ".join(
        f"{_word(kind)} {_word(direction)} ({one.index.get(kind, 0.0):.2f})" for kind, direction in kinds.items()
    )
    against = "its calibration" if one.reference == "calibration" else "its first answers there"
    return Alarm(
        name,
        "drift",
        "warn",
        since_s,
        f"What {_word(one.model)} sees or says is not like {against}: {what}; above {INDEX_ALARM} is drift.",
        "Look at the camera: light, dirt, another scene. If the change stays: littoral calibrate with newer pictures.",
    )


def _word(text: str) -> str:
    return text[:WORD_CHARACTERS_MAX]
