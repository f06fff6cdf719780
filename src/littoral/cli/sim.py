"""`littoral sim`: a scripted scenario over a fleet on this machine, and whether what it expects came true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from littoral.cli.options import json_option
from littoral.core.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from littoral.cli.camera import Seen
    from littoral.cli.scenario import Scenario
    from littoral.cli.scenario_file import FoundFault
    from littoral.cli.scenario_judging import Record, Verdict

SCENARIOS = Path(__file__).parent / "scenarios"
FILE_BYTES_MAX = 1 << 20


@click.command("sim")
@click.argument("scenario", metavar="[SCENARIO]", required=False)
@click.option("--list", "lists", is_flag=True, help="List the scenarios that ship.")
@click.option("--show", is_flag=True, help="Print the scenario's file, to begin your own with.")
@click.option("--check", is_flag=True, help="Only read the file and say what is wrong with it.")
@json_option
def command(*, scenario: str | None, lists: bool, show: bool, check: bool, as_json: bool) -> None:
    """Carry out SCENARIO, a file or the name of one that ships, over a fleet on this machine.

    A hub, edges and links as in the demo, all real; steps at their times, such as a cut link or a killed edge; then
    what the file expects is held against what was seen. Exits with 0 only if all of it came true.
    """
    if lists:
        _list(as_json=as_json)
        return
    if scenario is None:
        raise Invalid("arguments_wrong", "Which scenario? Name a file, or one of: littoral sim --list")
    path = _place(scenario)
    text = _text(path)
    if show:
        click.echo(text, nl=False)
        return
    read = _read(path, text, as_json=as_json)
    if check:
        click.echo(f"{path.name}: {len(read.sites)} sites, {len(read.steps)} steps.", err=True)
        return
    verdicts = _judge(read, _run(read, path.parent), as_json=as_json)
    broken = [str(one.expectation) for one in verdicts if not one.held]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise Unavailable("scenario_failed", f"It did not come true that {broken[0]}{more}.")


def _shipped() -> dict[str, Path]:
    return {path.stem: path for path in sorted(SCENARIOS.glob("*.toml"))}


def _place(scenario: str) -> Path:
    """A file, else a scenario that ships."""
    path = Path(scenario)
    if path.is_file():
        return path
    shipped = _shipped()
    if scenario in shipped:
        return shipped[scenario]
    from littoral.cli.table_reading import nearest

    near = nearest(scenario, shipped)
    more = f" Did you mean {near!r}?" if near else f" Those that ship: {', '.join(shipped)}."
    raise NotFound("scenario_unknown", f"There is no file {scenario[:80]!r}, and no scenario of that name.{more}")


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Invalid("scenario_wrong", f"{path.name} is longer than {FILE_BYTES_MAX} bytes.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error}.", path=str(path)) from error


def _list(*, as_json: bool) -> None:
    from littoral.cli.table import Column, Table

    rows = []
    for name, path in _shipped().items():
        read = _read(path, _text(path), as_json=False)
        rows.append({"name": name, "length_s": read.length_s, "sites": len(read.sites), "title": read.title})
    columns = [
        Column("name", "SCENARIO"),
        Column("length_s", "LENGTH s", right=True, decimals=0),
        Column("sites", "SITES", right=True),
        Column("title", "WHAT HAPPENS"),
    ]
    Table(columns, as_json=as_json).add_all(rows)


def _read(path: Path, text: str, *, as_json: bool) -> Scenario:
    """The scenario; a wrong file is told line by line, all of it at once."""
    from littoral.cli.scenario_file import read_scenario

    read, faults = read_scenario(text)
    if read is not None:
        return read
    if as_json:
        _print_faults(faults)
    lines = "".join(f"\n  {fault}" for fault in faults)
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    raise Invalid("scenario_wrong", f"{path.name} has {count}.{lines}")


def _print_faults(faults: Sequence[FoundFault]) -> None:
    from littoral.cli.table import json_line

    for it in faults:
        fault = it.fault
        told = {"key": fault.key, "expected": fault.expected, "found": fault.found, "nearest": fault.nearest}
        print(json_line({"line": it.line, **told}), flush=True)


def _run(scenario: Scenario, beside: Path) -> Record:
    """The fleet's own log tells only what is wrong. SIGTERM ends it in order, as Ctrl-C does."""
    import asyncio
    import signal

    try:
        from littoral.cli.sim_fleet import run_scenario
    except ImportError as error:
        raise Unavailable("extra_missing", "A fleet needs the extra [hub]: pip install 'littoral[hub]'.") from error
    from littoral.monitor.log import start_log

    start_log(level="error")
    click.echo(f"Starting a hub and {len(scenario.sites)} edges ...", err=True)

    async def run() -> Record:
        task = asyncio.ensure_future(run_scenario(scenario, beside, lambda line: click.echo(line, err=True)))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise click.Abort from None


def _judge(scenario: Scenario, record: Record, *, as_json: bool) -> list[Verdict]:
    """Prints a row for each expectation, and what the cameras saw."""
    from littoral.cli.scenario_judging import judge
    from littoral.cli.table import Column, Table, json_line

    verdicts = judge(scenario, record)
    columns = [
        Column("line", "LINE", right=True),
        Column("asserted", "EXPECTED"),
        Column("held", "HELD"),
        Column("seen", "SEEN"),
    ]
    rows = [
        {
            "line": one.expectation.line,
            "site": one.expectation.site or None,
            "asserted": str(one.expectation),
            "seen": one.seen,
            "held": one.held,
        }
        for one in verdicts
    ]
    Table(columns, as_json=as_json).add_all(rows)
    if as_json:
        held = all(one.held for one in verdicts)
        print(json_line({"summary": True, "title": scenario.title, "held": held, **_sums(record.cameras)}), flush=True)
    return verdicts


def _sums(cameras: Mapping[str, Seen]) -> dict[str, object]:
    seen = list(cameras.values())
    sums: dict[str, object] = {
        name: sum(int(getattr(one, name)) for one in seen)
        for name in ("sent", "answered", "late", "degraded", "right", "away")
    }
    ran_at: dict[str, int] = {}
    for one in seen:
        for site, count in one.ran_at.items():
            ran_at[site] = ran_at.get(site, 0) + count
    return {**sums, "ran_at": dict(sorted(ran_at.items()))}
