"""`littoral join`: a folder becomes a site of a hub, once."""

from __future__ import annotations

import os
from pathlib import Path

import click

from littoral.cli.options import json_option, read_api_key

_PREFIX = "littoral-join-"


@click.command("join")
@click.argument("hub", required=False, metavar="[HUB]")
@click.option("--token", metavar="TOKEN", help="The join token. [default: LITTORAL_JOIN_TOKEN]")
@click.option(
    "--token-file", metavar="FILE", type=click.Path(path_type=Path), help="A file whose first line is the join token."
)
@click.option(
    "--dir",
    "folder",
    default="site",
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The site's folder.",
)
@click.option("--site", metavar="NAME", help="The site's name. [default: the machine's name]")
@json_option
def command(
    *, hub: str | None, token: str | None, token_file: Path | None, folder: Path, site: str | None, as_json: bool
) -> None:
    """Join a hub with a one-time token from `littoral token new`.

    The token says where the hub is and by which fingerprint to know it, so nobody else is trusted; HUB
    (https://HOST:PORT) is another way to it. The site's key is made in DIR and never leaves it. From then on DIR is all
    that the site needs: littoral edge run DIR
    """
    from littoral.cli.table import json_line, print_facts
    from littoral.edge.membership import join
    from littoral.edge.settings import default_site
    from littoral.identity.enrol import JoinToken

    if hub is not None and hub.startswith(_PREFIX):  # a token carries the hub's address, so it may stand for both
        hub, token = None, hub
    joined = join(folder, JoinToken.parse(join_token(token, token_file)), site or default_site(), hub=hub or "")
    facts = {"site": joined.membership.site, "hub": joined.membership.hub, "id": str(joined.identity.who)}
    if as_json:
        print(json_line(facts))
        return
    print_facts(facts)
    click.echo(f"Next: littoral edge run {folder}", err=True)


def join_token(token: str | None, file: Path | None) -> str:
    """The token that flags or the environment give; `Invalid` (`token_missing`) where none does."""
    from littoral.core.errors import Invalid

    found = token or (read_api_key(file) if file is not None else os.environ.get("LITTORAL_JOIN_TOKEN"))
    if not found:
        raise Invalid("token_missing", "A site joins with a token: give --token. Make one with: littoral token new")
    return found
