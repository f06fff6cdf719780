"""The `littoral` command: finds the verb, runs it, and turns an error into a line and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from littoral.cli.failures import show_error
from littoral.cli.verbs import VerbGroup
from littoral.core.errors import Invalid, LittoralError
from littoral.serve.statuses import status_of

# What a shell reports for a process that ended by SIGINT or SIGPIPE: 128 and the signal's number.
_INTERRUPTED = 130
_PIPE_CLOSED = 141


def _print_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from littoral.cli.version import version

        click.echo(f"littoral {version()}")
        context.exit()


@click.group(
    cls=VerbGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_context
def littoral(context: click.Context) -> None:
    """Serve models at the edge over the Open Inference Protocol.

    Results go to standard output, the story to standard error. Every verb takes --help.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and gives its exit status; errors are told on standard error."""
    verb = next((word for word in arguments if not word.startswith("-")), "")
    try:
        status = littoral.main(list(arguments), prog_name="littoral", standalone_mode=False)
        sys.stdout.flush()
    except LittoralError as error:
        show_error(error, verb=verb, arguments=arguments)
        return status_of(error).exit_code
    except click.ClickException as error:
        wrong = Invalid("arguments_wrong", error.format_message())
        show_error(wrong, verb=verb, arguments=arguments)
        return status_of(wrong).exit_code
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has enough (`littoral models | head`). What is still buffered goes nowhere, quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return status if isinstance(status, int) else 0


def main() -> None:
    """The entry point of the console script."""
    sys.exit(run(sys.argv[1:]))
