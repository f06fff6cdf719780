"""`littoral version`: what is installed here."""

from __future__ import annotations

import click

from littoral.cli.options import json_option


def version() -> str:
    """The version of the installed package."""
    from importlib.metadata import version as installed

    return installed("littoral")


@click.command("version")
@json_option
def command(*, as_json: bool) -> None:
    """Show the version of Littoral and of the Python it runs on."""
    import platform

    from littoral.cli.table import json_line

    if as_json:
        click.echo(json_line({"littoral": version(), "python": platform.python_version()}))
    else:
        click.echo(f"littoral {version()} (Python {platform.python_version()})")
