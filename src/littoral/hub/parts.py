"""What the hub's verbs work with: one of each, made by `hub.py`, handed to every group of verbs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from littoral.core.clock import Clock
from littoral.hub.attendance import Attendance
from littoral.hub.chronicle import Chronicle
from littoral.hub.database import Database
from littoral.hub.door_limits import DoorLimits
from littoral.hub.signal import Signal
from littoral.hub.streaming import Followers
from littoral.hub.tally import Tally
from littoral.hub.watching import Watching


@dataclass(slots=True)
class Parts:
    """`desired_fresh` fires when a site should live by something else, `models_fresh` when the registry changed."""

    database: Database
    clock: Clock
    chronicle: Chronicle
    attendance: Attendance
    limits: DoorLimits
    tally: Tally
    followers: Followers
    watching: Watching
    desired_fresh: Signal = field(default_factory=Signal)
    models_fresh: Signal = field(default_factory=Signal)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events_fresh(self) -> Signal:
        """Fires when events were stored."""
        return self.chronicle.fresh

    def desired_changed(self, versions: Mapping[str, int]) -> None:
        """Wakes the sites that should live by something else from now on."""
        if versions:
            self.attendance.desired_changed(versions)
            self.desired_fresh.fire()
