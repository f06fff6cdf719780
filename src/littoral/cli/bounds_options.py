"""The flags that `serve` and `edge run` take about what may go upstream, and what they mean together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import click

from littoral.cli.options import HourlyBytes, Share, grouped

if TYPE_CHECKING:
    from littoral.edge.settings import Bounds


class BoundsGiven(TypedDict):
    """What the flags hold."""

    max_escalation: float
    upload_budget: float | None
    audit: float
    stand_by: bool
    agreement: float


bounds_options = grouped(
    click.option(
        "--max-escalation", default="100%", show_default=True, type=Share(), help="Share of requests that may escalate."
    ),
    click.option("--upload-budget", type=HourlyBytes(), metavar="BYTES/h", help="What escalations may send: 5MB/h."),
    click.option(
        "--audit", default="0.5%", show_default=True, type=Share(), help="Confident answers to check upstream."
    ),
    click.option(
        "--stand-by/--no-stand-by",
        default=True,
        show_default=True,
        help="Begin runs here beside calls upstream where nobody wants the core; else for one in twenty.",
    ),
    click.option(
        "--agreement",
        default="99%",
        show_default=True,
        type=Share(),
        help="Answers that packing an input smaller for a link must leave as they are.",
    ),
)


def bounds_given(given: BoundsGiven) -> Bounds:
    """The bounds of a node."""
    from littoral.edge.settings import Bounds

    return Bounds(
        given["max_escalation"], given["upload_budget"], given["audit"], given["stand_by"], given["agreement"]
    )
