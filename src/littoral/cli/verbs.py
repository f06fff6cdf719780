"""The verbs of the command line: where each lives and what it is for, so that help loads none of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import click

from littoral.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: the module that holds it as `command`, and its line in `littoral --help`."""

    place: str
    summary: str


VERBS: dict[str, Verb] = {
    "demo": Verb("littoral.cli.demo", "Start a server, send it pictures, show what comes back."),
    "sim": Verb("littoral.cli.sim", "Carry out a scripted scenario over a fleet, and judge what came of it."),
    "serve": Verb("littoral.cli.serve", "Serve models over HTTP and gRPC."),
    "predict": Verb("littoral.cli.predict", "Put pictures through a model."),
    "models": Verb("littoral.cli.models", "List a server's models; push models to a hub and assign them."),
    "check": Verb("littoral.cli.check", "Show what this machine offers, and what to do where it lacks something."),
    "bench": Verb("littoral.cli.bench", "Measure a model, bare and through each door."),
    "profile": Verb("littoral.cli.profile", "Time a model block by block, for planning."),
    "plan": Verb("littoral.cli.plan", "Show where a model runs best, and over which links."),
    "split": Verb("littoral.cli.split", "Cut a model in two and prove that the halves are the whole."),
    "calibrate": Verb("littoral.cli.calibrate", "Teach a little model when to ask a big one, within a promise."),
    "link": Verb("littoral.cli.link", "Stand between two programs as a slow, late or broken link."),
    "hub": Verb("littoral.cli.hub", "Make a hub and run it: events, models and sites in one place."),
    "token": Verb("littoral.cli.token", "Make a token for a site to join with, or for a program."),
    "sites": Verb("littoral.cli.sites", "Show a hub's sites, label them, shut one out."),
    "events": Verb("littoral.cli.events", "Show what a hub knows has happened."),
    "report": Verb("littoral.cli.report", "Say what happened at a hub's sites: a table, JSON or a page to send."),
    "join": Verb("littoral.cli.join", "Join a hub with a one-time token."),
    "edge": Verb("littoral.cli.edge", "Run a site that belongs to a hub."),
    "outbox": Verb("littoral.cli.outbox", "Look at what waits to be sent, and check it."),
    "version": Verb("littoral.cli.version", "Show the version."),
}


class VerbGroup(click.Group):
    """A group that imports a verb when it is called for; starting up must stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        command: click.Command = import_module(verb.place).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            raise Invalid("verb_unknown", f"There is no verb {name[:40]!r}.{_nearest(name)}", verb=_near(name))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])


def _near(name: str) -> str:
    """The known verb that is spelt most alike; "" where none is near."""
    from difflib import get_close_matches

    found = get_close_matches(name, VERBS, n=1, cutoff=0.5)
    return found[0] if found else ""


def _nearest(name: str) -> str:
    near = _near(name)
    return f" Did you mean {near!r}?" if near else f" Verbs: {', '.join(VERBS)}."
