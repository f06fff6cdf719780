"""`littoral plan`: where a model runs best on these sites and links, why, and how far that holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from littoral.cli.options import Duration, Share, json_option
from littoral.cli.plan_asked import LinkAsked, LinkValue, SiteAsked, SiteFigure, SiteValue
from littoral.core.units import byte_count, milliseconds, watts

if TYPE_CHECKING:
    from littoral.cli.plan_case import Case


@click.command("plan")
@click.argument("model", required=False)
@click.option(
    "--site",
    "sites",
    multiple=True,
    required=True,
    type=SiteValue(),
    metavar="NAME=PROFILE[*FACTOR]",
    help="A site and its profile, in order from where requests arrive. *8: guessed to be 8 times slower.",
)
@click.option(
    "--link",
    "links",
    multiple=True,
    type=LinkValue(),
    metavar="RATE,TRIP",
    help="The link to the next site, such as 8Mbit/s,40ms; or UP,DOWN,TRIP. One fewer than the sites.",
)
@click.option("--deadline", type=Duration(), help="Marks the plans that are late at their usual cost.")
@click.option(
    "--objective",
    default="latency",
    show_default=True,
    type=click.Choice(["latency", "throughput", "energy", "bytes"]),
    help="What to keep small; throughput: the busiest site or link.",
)
@click.option("--stays", default="", metavar="WHAT", help="What may not leave the first site: input, results, block:K.")
@click.option(
    "--memory",
    multiple=True,
    type=SiteFigure(byte_count),
    metavar="NAME=SIZE",
    help="Room for models, such as pi=64MB.",
)
@click.option(
    "--agreement", default="99%", show_default=True, type=Share(), help="Answers that a codec must leave as they are."
)
@click.option(
    "--wait",
    multiple=True,
    type=SiteFigure(milliseconds),
    metavar="NAME=TIME",
    help="Wait in a site's queue. [default: 0]",
)
@click.option(
    "--power", multiple=True, type=SiteFigure(watts), metavar="NAME=POWER", help="What a site draws above idling, 5W."
)
@click.option(
    "--radio-joules-per-mb", default=0.0, show_default=True, type=click.FloatRange(0), help="Of the first site's radio."
)
@click.option("--sweep", is_flag=True, help="Show the winner over rates and round trips of a link.")
@click.option("--sweep-link", metavar="NEAR-FAR", help="The link that is swept and plotted. [default: the slowest]")
@click.option("--plot", metavar="FILE", type=click.Path(path_type=Path), help="Draw the sweep as .svg or .png.")
@json_option
def command(
    *,
    model: str | None,
    sites: tuple[SiteAsked, ...],
    links: tuple[LinkAsked, ...],
    deadline: float | None,
    objective: str,
    stays: str,
    memory: tuple[tuple[str, float], ...],
    agreement: float,
    wait: tuple[tuple[str, float], ...],
    power: tuple[tuple[str, float], ...],
    radio_joules_per_mb: float,
    sweep: bool,
    sweep_link: str | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Show every way of running a model on these sites, what each costs, and which wins.

    The profiles come from `littoral profile MODEL --out FILE` on each machine. MODEL, if given, must be
    theirs.
    """
    from littoral.cli import plan_views
    from littoral.cli.plan_asked import figures_by_site, read_profiles, world_of
    from littoral.cli.plan_case import build_case
    from littoral.runtime.placing import Limits

    _check_energy(objective, power, sites)
    _check_plot(plot)
    names = [site.name for site in sites]
    profiles = read_profiles(sites, model)
    world = world_of(
        names,
        links,
        waits_ms=figures_by_site("--wait", wait, names, 0.0),
        powers_w=figures_by_site("--power", power, names, 0.0),
        radio_joules_per_mb=radio_joules_per_mb,
    )
    room = figures_by_site("--memory", memory, names, float("inf"))
    limits = Limits(stays=stays, agreement_min=agreement, memory_bytes_max=room)
    case = build_case(sites, profiles, world, limits=limits, objective=objective, deadline_ms=deadline or float("inf"))
    swept = plan_views.sweep_link(case, sweep_link)
    _print(case, swept if sweep else None, as_json=as_json)
    if plot is not None:
        _plot(case, model, swept, plot)


def _check_energy(objective: str, power: tuple[tuple[str, float], ...], sites: tuple[SiteAsked, ...]) -> None:
    """Energy without a power would compare noughts."""
    from littoral.core.errors import Invalid

    if objective == "energy" and not any(watts_ > 0 for _, watts_ in power):
        raise Invalid(
            "power_missing",
            f"To compare energy, say what the sites draw: --power {sites[0].name}=5W (and --radio-joules-per-mb 2). "
            "A site without --power counts as free, such as one on the mains.",
        )


def _check_plot(file: Path | None) -> None:
    from littoral.core.errors import Invalid

    if file is not None and file.suffix.lower() not in (".svg", ".png"):
        raise Invalid("plot_wrong", f"--plot {file.name!r}: name a file that ends in .svg or .png.")


def _print(case: Case, swept: int | None, *, as_json: bool) -> None:
    """The candidates and the sweep of a link on standard output, the reasons on standard error."""
    from littoral.cli import plan_views
    from littoral.cli.plan_story import story
    from littoral.cli.table import Table, json_line

    choice, costs = case.choice(), case.costs()
    sentences = story(case, choice, costs)
    if as_json:
        for row in plan_views.json_rows(case, choice, costs):
            click.echo(json_line(row))
        click.echo(json_line(plan_views.summary_row(case, choice, sentences)))
        for cell in () if swept is None else plan_views.sweep_cells(case, swept):
            click.echo(json_line(cell))
        return
    Table(plan_views.columns(case), as_json=False).add_all(plan_views.table_rows(case, choice, costs))
    for sentence in sentences:
        click.echo(sentence, err=True)
    if swept is not None:
        columns, rows, legend = plan_views.sweep_table(plan_views.sweep_cells(case, swept))
        click.echo(f"\nWho wins over the rate and the round trip of {case.links[swept]}:")
        Table(columns, as_json=False).add_all(rows)
        for line in legend:
            click.echo(line)


def _plot(case: Case, model: str | None, swept: int, file: Path) -> None:
    """Writes the map of winners; `Unavailable` (`file_unwritable`)."""
    from littoral.cli.drawing import to_svg
    from littoral.cli.plan_map import plan_map
    from littoral.core.errors import Unavailable

    drawing = plan_map(case, swept, title_of=model)
    if file.suffix.lower() == ".svg":
        content = to_svg(drawing).encode()
    else:
        from littoral.cli.drawing_pillow import to_png

        content = to_png(drawing)
    try:
        file.write_bytes(content)
    except OSError as error:
        raise Unavailable("file_unwritable", f"{file} cannot be written: {error.strerror}.", path=str(file)) from error
    click.echo(f"Wrote {file}.", err=True)
