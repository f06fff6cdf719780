"""The world at an instant: sites in a row from the device to the cloud, and the links between neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from littoral.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Site:
    """A place that runs operators.

    `slowdown` is measured time over profiled time (1 = as profiled, inf = gone). `queue_ms` is the wait before a
    request starts there. `power_w` is what running costs above idling, in watts. `memory_bytes` bounds what is loaded.
    """

    name: str
    slowdown: float = 1.0
    queue_ms: float = 0.0
    power_w: float = 0.0
    memory_bytes: float = inf


@dataclass(frozen=True, slots=True)
class Link:
    """The way between two neighbouring sites.

    Rates are in bytes per millisecond (1 Mbit/s = 125), `round_trip_ms` is for an empty message. `joules_per_byte` is
    what the radio of the nearer site spends, `metered` says that bytes cost money. A link that is down has rate 0.
    """

    up_bytes_per_ms: float
    down_bytes_per_ms: float
    round_trip_ms: float
    joules_per_byte: float = 0.0
    metered: bool = False

    @property
    def down(self) -> bool:
        """Whether nothing gets through."""
        return self.up_bytes_per_ms <= 0 or self.down_bytes_per_ms <= 0 or self.round_trip_ms == inf


@dataclass(frozen=True, slots=True)
class World:
    """`links[i]` joins `sites[i]` and `sites[i + 1]`; requests arrive at `sites[0]`.

    Raises `Invalid` when built: `world_sites` (none, or a name twice), `world_links` (not one fewer than the sites),
    `world_number` (a negative or missing number).
    """

    sites: tuple[Site, ...]
    links: tuple[Link, ...]

    def __post_init__(self) -> None:
        names = [site.name for site in self.sites]
        if not names or len(set(names)) != len(names):
            raise Invalid("world_sites", "A world needs at least one site, and each its own name.")
        if len(self.links) != len(names) - 1:
            raise Invalid("world_links", f"{len(names)} sites need {len(names) - 1} links; {len(self.links)} came.")
        # NaN is not at least 0 either
        fine = all(s.slowdown >= 0 and s.queue_ms >= 0 and s.power_w >= 0 and s.memory_bytes >= 0 for s in self.sites)
        for link in self.links:
            fine = fine and link.up_bytes_per_ms >= 0 and link.down_bytes_per_ms >= 0
            fine = fine and link.round_trip_ms >= 0 and link.joules_per_byte >= 0
        if not fine:
            raise Invalid(
                "world_number", "Slow-down, wait, power, memory, rates and round trips must be numbers from 0."
            )
