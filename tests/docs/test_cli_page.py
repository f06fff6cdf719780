"""The page of verbs and the command line say the same."""

from __future__ import annotations

import re

import click
import pytest

from docs.collect import ROOT, documented_codes, sections
from littoral.cli import failures
from littoral.cli.main import littoral
from littoral.cli.verbs import VERBS

PAGE = ROOT / "docs" / "cli.md"


def command_of(verb: str) -> click.Command:
    found = littoral.get_command(click.Context(littoral), verb)
    assert found is not None
    return found


def parts_of(verb: str) -> dict[str, click.Command]:
    """A verb and, where it has some, its subcommands, by what is typed after it."""
    whole = command_of(verb)
    return {"": whole, **(whole.commands if isinstance(whole, click.Group) else {})}


def flags_of(verb: str) -> set[str]:
    options = (one for part in parts_of(verb).values() for one in part.params if isinstance(one, click.Option))
    return {flag for one in options for flag in one.opts}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_section_that_names_each_of_its_flags(verb: str) -> None:
    told = sections(PAGE).get(f"littoral {verb}")
    assert told is not None, f"docs/cli.md has no section '## littoral {verb}'"

    assert {flag for flag in flags_of(verb) if f"`{flag}" not in told} == set()


@pytest.mark.parametrize("verb", VERBS)
def test_every_subcommand_is_named_in_its_verbs_section(verb: str) -> None:
    told = sections(PAGE).get(f"littoral {verb}", "")

    assert {name for name in parts_of(verb) if name and f"`littoral {verb} {name}" not in told} == set()


@pytest.mark.parametrize("verb", VERBS)
def test_no_documented_flag_is_gone(verb: str) -> None:
    told = sections(PAGE).get(f"littoral {verb}", "")
    flags = flags_of(verb) | {"--help"}

    rows = re.findall(r"^\| `(--[a-z-]+)", told, flags=re.MULTILINE)

    assert set(rows) - flags == set()


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_of_every_verb_explains_itself(verb: str) -> None:
    for command in parts_of(verb).values():
        silent = [one.name for one in command.params if isinstance(one, click.Option) and not one.help]

        assert silent == []
        assert command.help


def test_what_an_error_suggests_to_run_next_exists() -> None:
    # given every command that errors suggest
    suggested = [*failures._NEXT_OF_CODE.values(), *failures._NEXT_OF_KIND.values()]

    # when each is read as a verb and flags
    wrong = []
    for line in suggested:
        words = line.format(verb="predict", url="").split()
        if words[0] == "littoral" and words[1] != "--help":
            known = flags_of(words[1]) | {"--help"}
            wrong += [f"{line}: {word}" for word in words[2:] if word.startswith("--") and word not in known]

    # then each verb and flag is there, and so is each code
    assert wrong == []
    assert set(failures._NEXT_OF_CODE) - set(documented_codes(ROOT / "docs" / "errors.md")) == set()
