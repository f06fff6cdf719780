"""What `littoral plan` is asked: the sites with their profiles, the links between them, and figures by site."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from littoral.core.errors import Conflict, Invalid
from littoral.core.units import bytes_per_ms, milliseconds

if TYPE_CHECKING:
    from littoral.core.world import World
    from littoral.model.profile import Profile

FACTOR_MAX = 1e6


@dataclass(frozen=True, slots=True)
class SiteAsked:
    """A site: its name, its profile's file, and how many times slower than that it is guessed to be."""

    name: str
    file: Path
    factor: float


class SiteValue(click.ParamType[SiteAsked]):
    """NAME=PROFILE, or NAME=PROFILE*FACTOR for a machine of which there is no profile yet."""

    name = "site"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> SiteAsked:
        from littoral.core.ident import check_name

        if isinstance(value, SiteAsked):
            return value
        name, equals, rest = str(value).partition("=")
        file, star, factor = rest.rpartition("*")
        if not star:
            file, factor = rest, "1"
        try:
            times = float(factor)
        except ValueError:
            times = 0.0
        if not name or not equals or not file or not 0 < times <= FACTOR_MAX:
            raise Invalid(
                "site_wrong",
                f"--site {str(value)[:80]!r}: write NAME=PROFILE, such as pi=pi.json, or pi=mine.json*8 for a "
                "machine that is guessed to be 8 times slower than the profile's.",
            )
        return SiteAsked(check_name(name, what="site"), Path(file), times)


@dataclass(frozen=True, slots=True)
class LinkAsked:
    """A link: rates in bytes per millisecond and a round trip."""

    up_bytes_per_ms: float
    down_bytes_per_ms: float
    round_trip_ms: float


class LinkValue(click.ParamType[LinkAsked]):
    """RATE,TRIP such as 8Mbit/s,40ms, or UP,DOWN,TRIP where the two ways differ."""

    name = "link"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> LinkAsked:
        if isinstance(value, LinkAsked):
            return value
        parts = str(value).split(",")
        if len(parts) not in (2, 3):
            raise Invalid(
                "link_wrong",
                f"--link {str(value)[:80]!r}: write RATE,ROUND-TRIP such as 8Mbit/s,40ms, or UP,DOWN,ROUND-TRIP.",
            )
        rates = [bytes_per_ms(part) for part in parts[:-1]]
        if min(rates) <= 0:
            raise Invalid("rate_wrong", "A link's rate must be above zero. What runs without it is the plan of a site.")
        return LinkAsked(rates[0], rates[-1], milliseconds(parts[-1]))


class SiteFigure(click.ParamType[tuple[str, float]]):
    """NAME=FIGURE, such as pi=64MB; the figure is read as its flag says."""

    name = "figure"

    def __init__(self, read: Callable[[str], float]) -> None:
        self._read = read

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        name, equals, figure = str(value).partition("=")
        if not equals:
            flag = param.opts[0] if param else "A figure"
            raise Invalid("site_wrong", f"{flag} {str(value)[:80]!r}: write NAME=FIGURE, NAME being one of the sites.")
        return name, self._read(figure)


def figures_by_site(
    flag: str, figures: Sequence[tuple[str, float]], sites: Sequence[str], default: float
) -> tuple[float, ...]:
    """One figure for each site, in their order; `Invalid` (`site_wrong`) for a name that is none of theirs."""
    given = dict(figures)
    for name in given:
        if name not in sites:
            raise Invalid("site_wrong", f"{flag} names {name[:60]!r}; the sites are {', '.join(sites)}.")
    return tuple(given.get(name, default) for name in sites)


def read_profiles(asked: Sequence[SiteAsked], model: str | None) -> dict[str, Profile]:
    """The profiles by site, slowed down as guessed.

    Raises what reading raises, `Invalid` (`site_wrong`: fewer than two sites, or one twice), `Conflict`
    (`digest_differs`: not of this model).
    """
    from littoral.model.profile import read_profile, slowed

    names = [site.name for site in asked]
    if len(names) < 2 or len(set(names)) < len(names):
        raise Invalid(
            "site_wrong", "Give --site twice or more, each with its own name, in order from where requests arrive."
        )
    profiles = {site.name: slowed(read_profile(site.file), site.factor) for site in asked}
    if model is not None:
        check_is_of(model, profiles)
    return profiles


def check_is_of(model: str, profiles: Mapping[str, Profile]) -> None:
    """`Conflict` (`digest_differs`) unless every profile is of this model's file."""
    from littoral.cli.places import model_file, path_here
    from littoral.core.ident import digest_file

    file = model_file(path_here(model))
    digest = digest_file(file)
    for site, profile in profiles.items():
        if profile.digest != digest:
            raise Conflict(
                "digest_differs",
                f"The profile of site {site} is of another model ({profile.digest[:19]}) than {file} ({digest[:19]}). "
                f"Run on that machine: littoral profile {model} --out FILE",
                site=site,
            )


def world_of(
    sites: Sequence[str],
    links: Sequence[LinkAsked],
    *,
    waits_ms: Sequence[float],
    powers_w: Sequence[float],
    radio_joules_per_mb: float,
) -> World:
    """The world as asked; the radio is the first site's. Raises `Invalid` (`world_links`)."""
    from littoral.core.world import Link, Site, World

    return World(
        tuple(
            Site(name, queue_ms=wait, power_w=power)
            for name, wait, power in zip(sites, waits_ms, powers_w, strict=True)
        ),
        tuple(
            Link(
                link.up_bytes_per_ms,
                link.down_bytes_per_ms,
                link.round_trip_ms,
                joules_per_byte=0.0 if place else radio_joules_per_mb / 1e6,
                metered=True,
            )
            for place, link in enumerate(links)
        ),
    )
