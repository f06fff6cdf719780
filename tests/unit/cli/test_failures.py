"""How an error is told: its code, its sentence, one next command, and the exit status of its kind."""

from __future__ import annotations

import pytest

from littoral.cli.failures import next_step, show_error
from littoral.cli.main import run
from littoral.core.errors import KINDS, Conflict, Denied, LittoralError, NotFound, Unavailable


def test_an_error_is_two_lines_code_and_sentence_then_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    error = NotFound("model_unknown", "No model 'foo'. Known: surface-little.")

    show_error(error, verb="predict", arguments=["predict", "foo", "a.jpg", "--url", "http://edge-7:8000"])

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "error model_unknown: No model 'foo'. Known: surface-little.\n  next: littoral models --url http://edge-7:8000\n"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_error_names_a_next_command(kind: type[LittoralError]) -> None:
    step = next_step(kind("some_new_code", "Something."), verb="predict")

    assert step.startswith("littoral ")
    assert "{" not in step


def test_the_address_is_found_also_behind_an_equals_sign() -> None:
    step = next_step(NotFound("model_unknown", ""), arguments=["predict", "--url=grpc://edge-7:8001", "m"])

    assert step == "littoral models --url grpc://edge-7:8001"


def test_a_taken_port_leads_to_free_ones() -> None:
    assert next_step(Unavailable("port_taken", "")) == "littoral serve --http-port 0 --grpc-port 0"


def test_an_unknown_verb_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["pred", "m", "a.jpg"])

    told = capsys.readouterr()
    assert status == 2
    assert told.err.startswith("error verb_unknown: There is no verb 'pred'. Did you mean 'predict'?")
    assert "next: littoral predict m a.jpg" in told.err


def test_a_verb_like_none_of_ours_gets_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["zzzz"])

    told = capsys.readouterr()
    assert status == 2
    assert "Verbs: demo, sim, serve, predict" in told.err
    assert "next: littoral --help" in told.err


def test_an_unknown_flag_is_an_error_of_the_caller(capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["check", "--colour"])

    told = capsys.readouterr()
    assert status == 2
    assert told.err.startswith("error arguments_wrong: ")
    assert "next: littoral check --help" in told.err


def test_without_a_verb_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    status = run([])

    told = capsys.readouterr()
    assert status == 0
    assert "Usage: littoral" in told.out
    assert "serve" in told.out


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (NotFound("site_unknown", ""), "littoral sites list"),
        (NotFound("outbox_unknown", ""), "ls"),
        (NotFound("hub_missing", ""), "littoral hub init DIR"),
        (Unavailable("hub_stopped", ""), "littoral hub run DIR"),
        (Conflict("setting_moved", ""), "littoral sites set NAME"),
        (Conflict("assignment_moved", ""), "littoral models list"),
        (Denied("token_used", ""), "littoral token new --site NAME"),
    ],
)
def test_what_goes_wrong_around_a_hub_leads_to_a_verb_of_the_hubs(error: LittoralError, step: str) -> None:
    assert next_step(error, verb="models") == step
