"""`littoral calibrate`: teaches a little model when to ask a big one, within a stated promise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from littoral.cli.options import Share, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command("calibrate")
@click.argument("little")
@click.option("--big", required=True, metavar="MODEL", help="The model that doubtful pictures go to.")
@click.option(
    "--images", required=True, multiple=True, metavar="DIR", help="Pictures that neither model was trained on."
)
@click.option(
    "--labels", metavar="FILE", type=click.Path(path_type=Path), help="CSV: file name, label. [default: none]"
)
@click.option(
    "--loss", default="2%", show_default=True, type=Share(), help="Answers lost against the big model, at most."
)
@click.option("--confidence", default="95%", show_default=True, type=Share(), help="How sure the promise must be.")
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="[default: cascade.json in LITTLE's folder]"
)
@json_option
def command(
    *,
    little: str,
    big: str,
    images: tuple[str, ...],
    labels: Path | None,
    loss: float,
    confidence: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Learn a gate for LITTLE and pick how doubtful an answer must be to escalate.

    The promise: with the stated confidence, at most the stated share of answers is worse than the big model's.
    Without labels the big model's answer counts as the truth.
    """
    from littoral.cli.pictures import expand, read
    from littoral.cli.places import model_folder, open_here
    from littoral.cli.progress import Progress
    from littoral.cli.table import Column, Table
    from littoral.runtime.calibrating import FILE_NAME, calibrate_cascade, judge, save_cascade

    first, place = open_here(little)
    second, _ = open_here(big)
    names = list(expand(images))
    truths = None if labels is None else _labels(labels, names)
    with Progress(len(names), "pictures") as progress:
        judged = judge(first, second, (read(name) for name in names), truths, step=progress.step)
    found = calibrate_cascade(first, second, judged, loss_max=loss, confidence=confidence, labelled=truths is not None)
    columns = [
        Column("threshold", "CONFIDENCE BELOW WHICH IT ESCALATES", right=True, decimals=4),
        Column("escalates", "ESCALATES %", right=True),
        Column("loss", "LOSS %", right=True, decimals=2),
        Column("loss_at_most", "AT MOST %", right=True, decimals=2),
    ]
    Table(columns, as_json=as_json).add_all(
        [
            {"threshold": threshold, "escalates": rate * 100, "loss": lost * 100, "loss_at_most": upper * 100}
            for threshold, rate, lost, upper in found.points
        ]
    )
    target = out or model_folder(place) / FILE_NAME
    save_cascade(found, target)
    truth = "the labels" if found.labelled else "the big model"
    click.echo(
        f"Against {truth}: {first.name} is right on {found.little_accuracy:.1%}, {second.name} on "
        f"{found.big_accuracy:.1%} of {len(names)} pictures. With {confidence:.0%} confidence at most {loss:.1%} of "
        f"the answers are lost when {found.points[-1][1]:.1%} escalate. Wrote {target}.",
        err=True,
    )


def _labels(file: Path, names: Sequence[str]) -> list[str]:
    """The label of each picture, from the first two columns of a CSV file, by file name."""
    import csv

    from littoral.core.errors import Invalid, Unavailable

    try:
        with file.open(encoding="utf-8", newline="") as stream:
            known = {row[0]: row[1] for row in csv.reader(stream) if len(row) > 1}
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("file_unreadable", f"{file} cannot be read as text.", path=str(file)) from error
    missing = [name for name in names if Path(name).name not in known]
    if missing:
        raise Invalid(
            "labels_missing",
            f"{file} has no label for {Path(missing[0]).name} and {len(missing) - 1} more. "
            "Write lines: file name, label.",
        )
    return [known[Path(name).name] for name in names]
