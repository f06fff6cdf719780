"""`littoral predict`: pictures in, labels or boxes out, at a server or in this process."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click

from littoral.cli.explanation import explanation_of, print_explanation
from littoral.cli.options import Duration, ca_option, cert_option, json_option, key_option, url_option
from littoral.core.errors import Invalid, LittoralError

if TYPE_CHECKING:
    from littoral.cli.places import Place
    from littoral.cli.table import Table
    from littoral.core.request import Parameter, Parameters
    from littoral.serve.client.answer import Found, Prediction


@click.command("predict")
@click.argument("model")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@url_option
@click.option("--deadline", "deadline_ms", type=Duration(), metavar="TIME", help="Time for each picture (100ms, 2s).")
@click.option("--top-k", default=1, show_default=True, type=click.IntRange(1), help="Classes to name for each picture.")
@click.option("--threshold", type=click.FloatRange(0, 1), metavar="X", help="Least score to show, from 0 to 1.")
@click.option("--explain", is_flag=True, help="For one picture: the plans to answer it, their terms and the winner.")
@key_option
@ca_option
@cert_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    *,
    model: str,
    files: tuple[str, ...],
    url: str | None,
    deadline_ms: float | None,
    top_k: int,
    threshold: float | None,
    explain: bool,
    api_key_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    as_json: bool,
) -> None:
    """Put pictures through MODEL: each FILE is a picture, a folder of pictures, a glob, or - for standard input.

    Without --url, a MODEL that is a path runs in this process; a name runs at a server on this machine if one at port
    8000 has it, else in this process if it is a built-in model. Standard error says where.

    A picture that fails does not stop the others; the exit status is that of the worst failure.
    """
    from littoral.cli.failures import error_row, next_step
    from littoral.cli.options import client_tls, read_api_key
    from littoral.cli.pictures import expand
    from littoral.cli.places import find_place
    from littoral.cli.progress import Progress
    from littoral.cli.table import json_line
    from littoral.serve.statuses import status_of

    names = list(expand(files))
    parameters = _parameters(names, top_k=top_k, threshold=threshold, explain=explain)
    place = find_place(model, url, read_api_key(api_key_file), client_tls(ca_file, cert_file))
    click.echo(place.story, err=True)
    failures: list[LittoralError] = []
    table: Table | None = None
    # Where the rows themselves go to a terminal they are the progress.
    shown = len(names) > 1 and not sys.stdout.isatty()
    try:
        with Progress(len(names), "pictures", shown=shown) as progress:
            for name, outcome in outcomes(place, names, parameters, deadline_ms):
                if not isinstance(outcome, LittoralError):
                    table = table or _table(names, boxes=_has_boxes(place, outcome), as_json=as_json)
                    table.add_each(_rows(name, outcome, threshold, as_json=as_json, explain=explain))
                    if explain and not as_json:
                        print_explanation(explanation_of(outcome))
                elif as_json:
                    print(json_line({"file": name, **error_row(outcome)}), flush=True)
                else:
                    progress.wipe()
                    click.echo(f"{name}: error {outcome.code}: {outcome.message}", err=True)
                if isinstance(outcome, LittoralError):
                    failures.append(outcome)
                progress.step()
    finally:
        place.close()
    if failures:
        worst = max(failures, key=lambda error: status_of(error).exit_code)
        click.echo(f"  next: {next_step(worst, verb='predict', arguments=sys.argv[1:])}", err=True)
        context.exit(status_of(worst).exit_code)


def outcomes(
    place: Place, names: Sequence[str], parameters: Parameters, deadline_ms: float | None
) -> Iterator[tuple[str, Prediction | LittoralError]]:
    """Each name with what came of it, in order, a bounded number of them under way at a time."""
    from littoral.cli.pictures import read

    def one(name: str) -> Prediction | LittoralError:
        try:
            return place.predict(read(name), parameters, deadline_ms)
        except LittoralError as error:
            return error

    waiting: deque[tuple[str, Future[Prediction | LittoralError]]] = deque()
    with ThreadPoolExecutor(place.in_flight_max) as pool:
        for name in names:
            waiting.append((name, pool.submit(one, name)))
            if len(waiting) >= 2 * place.in_flight_max:
                first, future = waiting.popleft()
                yield first, future.result()
        for name, future in waiting:
            yield name, future.result()


def _has_boxes(place: Place, first: Prediction) -> bool:
    """Whether the answers hold boxes; over gRPC only the first answer says."""
    return place.task == "detect" or any(one.box is not None for one in first.found)


def _table(names: Sequence[str], *, boxes: bool, as_json: bool) -> Table:
    from littoral.cli.table import Column, Table

    columns = [
        Column("file", "FILE", width=min(60, max(map(len, names), default=0))),
        Column("label", "LABEL", width=12),
        Column("score", "SCORE", width=6, right=True, decimals=3),
        Column("latency_ms", "LATENCY ms", right=True),
        Column("where", "WHERE"),
    ]
    if boxes:
        columns.insert(3, Column("box", "BOX px (left, top, right, bottom)"))
    return Table(columns, as_json=as_json)


def _parameters(names: Sequence[str], *, top_k: int, threshold: float | None, explain: bool) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {"top_k": top_k}
    if threshold is not None:
        parameters["threshold"] = threshold
    if explain:
        if len(names) != 1:
            raise Invalid("pictures_several", f"--explain is for one picture; {len(names)} came. Name one file.")
        parameters["explain"] = True
    return parameters


def _rows(
    name: str, outcome: Prediction, threshold: float | None, *, as_json: bool, explain: bool
) -> Iterator[dict[str, object]]:
    """For JSON one row with everything; for people a row for each thing found."""
    found = [one for one in outcome.found if threshold is None or one.score >= threshold]
    if as_json:
        yield {
            "file": name,
            "model": outcome.model,
            "version": outcome.version,
            "predictions": [_plain(one) for one in found],
            "where": outcome.site,
            "degraded": outcome.degraded,
            "latency_ms": round(outcome.latency_ms, 3),
            **({"explanation": explanation_of(outcome)} if explain else {}),
        }
        return
    common = {"file": name, "latency_ms": outcome.latency_ms, "where": outcome.site}
    if not found:
        yield {**common, "label": None, "score": None, "box": None}
    for one in found:
        box = None if one.box is None else ", ".join(f"{edge:.0f}" for edge in one.box)
        yield {**common, "label": one.label, "score": one.score, "box": box}


def _plain(one: Found) -> dict[str, object]:
    row: dict[str, object] = {"label": one.label, "score": round(one.score, 6)}
    if one.class_id is not None:
        row["class_id"] = one.class_id
    if one.box is not None:
        row["box"] = [round(edge, 2) for edge in one.box]
    return row
