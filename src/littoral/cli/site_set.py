"""`littoral sites set`: tells a site its limits and its configuration, and shows what it was told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from littoral.cli.hub_person import hub_options
from littoral.cli.options import json_option


@click.command("set")
@click.argument("site", metavar="NAME")
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--expect", type=click.IntRange(0), metavar="N", help="Only if the document is still at this version.")
@hub_options
@json_option
def set_settings(
    *,
    site: str,
    pairs: tuple[str, ...],
    expect: int | None,
    hub: str | None,
    token_file: Path | None,
    ca: Path | None,
    as_json: bool,
) -> None:
    """Tell a site its limits and configuration; `KEY=` is as it was started; without a pair, show what it was told.

    Keys: escalation_share, upload_bytes_per_hour, audit_share, results_share, telemetry_every_s, report_every_s,
    metered.
    """
    from urllib.parse import quote

    from littoral.cli.hub_person import hub_person
    from littoral.cli.table import Column, Table
    from littoral.core.errors import Invalid

    place = f"/v1/sites/{quote(site, safe='')}/settings"
    wanted = _wanted(pairs)
    if expect is not None and len(wanted) != 1:
        raise Invalid("site_setting_wrong", "--expect is of one document: limits or configuration. Name its keys.")
    with hub_person(hub, token_file, ca) as person:
        said = {one["kind"]: one for one in person.get(place)["settings"]}
        for kind, changes in wanted.items():
            value = {key: it for key, it in {**said[kind]["value"], **changes}.items() if it is not None}
            version = said[kind]["version"] if expect is None else expect
            said[kind] = person.put(f"{place}/{kind}", {"value": value, "expect": version})
    columns = [
        Column("kind", "KIND"),
        Column("version", "VERSION", right=True),
        Column("told", "TOLD"),
        Column("by", "BY"),
    ]
    Table(columns, as_json=as_json).add_all([one if as_json else _row(one) for one in said.values()])


def _wanted(pairs: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Kind > key > value."""
    from littoral.core.errors import Invalid
    from littoral.fleet.site_settings import kind_of, value_of

    wanted: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise Invalid("site_setting_wrong", f"{pair[:40]!r}: write KEY=VALUE, or KEY= for as it was started.")
        wanted.setdefault(kind_of(key), {})[key] = value_of(key, text)
    return wanted


def _row(one: dict[str, Any]) -> dict[str, Any]:
    told = " ".join(f"{key}={value}" for key, value in sorted(one["value"].items()))
    return {**one, "told": told or "as it was started", "by": one["by"] or "-"}
