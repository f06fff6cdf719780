"""What a runtime says to a request that it cannot run: it is closing, or the time is over."""

from __future__ import annotations

from littoral.core.errors import Expired, Unavailable
from littoral.runtime.lane import Lane


def closing() -> Unavailable:
    return Unavailable("closing", "This server is closing. Ask another one, or this one when it is back.")


def too_late(lane: Lane) -> Expired:
    return Expired(
        "deadline_passed",
        f"The time given was over before model {lane.name!r} could run. Give the request more time.",
        model=lane.name,
    )
