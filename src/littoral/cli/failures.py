"""How an error is told: its code, its sentence, and one command to try next."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from littoral.core.errors import (
    Conflict,
    Corrupt,
    Denied,
    Expired,
    Invalid,
    LittoralError,
    NotFound,
    Overloaded,
    Plain,
    Unavailable,
)

# By code where one command helps more than the kind's. {verb} and {url} (" --url U" or nothing) are filled in.
_NEXT_OF_CODE: Mapping[str, str] = {
    "assignment_moved": "littoral models list",
    "assignment_unknown": "littoral models list",
    "blocks_differ": "littoral profile MODEL --out FILE",
    "datatype_wrong": "littoral models{url}",
    "digest_differs": "littoral profile MODEL --out FILE",
    "hub_away": "littoral hub run DIR",
    "hub_missing": "littoral hub init DIR",
    "hub_stopped": "littoral hub run DIR",
    "image_unreadable": "file FILE",
    "inputs_wrong": "littoral models{url}",
    "model_unreadable": "littoral serve --log-level debug PATH",
    "models_limit": "littoral serve --models-limit-mb N",
    "models_missing": "littoral serve",
    "models_several": "littoral predict PATH/MODEL FILE",
    "outbox_unknown": "ls",
    "path_unknown": "ls",
    "port_taken": "littoral serve --http-port 0 --grpc-port 0",
    "power_missing": "littoral plan --objective energy --power NAME=5W",
    "profile_wrong": "littoral profile MODEL --out FILE",
    "scenario_unknown": "littoral sim --list",
    "scenario_wrong": "littoral sim SCENARIO --check",
    "server_away": "littoral serve",
    "setting_moved": "littoral sites set NAME",
    "site_unknown": "littoral sites list",
    "token_expired": "littoral token new --site NAME",
    "token_refused": "littoral token new --site NAME",
    "token_used": "littoral token new --site NAME",
    "verb_unknown": "littoral --help",
}

_NEXT_OF_KIND: Mapping[type[LittoralError], str] = {
    Invalid: "littoral {verb} --help",
    NotFound: "littoral models{url}",
    Conflict: "littoral models{url}",
    Denied: "littoral {verb} --api-key-file FILE",
    Overloaded: "littoral predict --deadline 5s",
    Expired: "littoral predict --deadline 5s",
    Unavailable: "littoral check",
    Corrupt: "littoral check",
}


def next_step(error: LittoralError, *, verb: str = "", arguments: Sequence[str] = ()) -> str:
    """One command that helps on, for the error's code or else for its kind."""
    if error.code == "verb_unknown" and error.context.get("verb"):
        return " ".join(["littoral", str(error.context["verb"]), *arguments[1:]])
    template = _NEXT_OF_CODE.get(error.code) or _NEXT_OF_KIND[type(error)]
    url = _value_after("--url", arguments)
    return " ".join(template.format(verb=verb, url=f" --url {url}" if url else "").split())


def show_error(error: LittoralError, *, verb: str = "", arguments: Sequence[str] = ()) -> None:
    """Tells the error on standard error, in two lines."""
    print(f"error {error.code}: {error.message}", file=sys.stderr)
    print(f"  next: {next_step(error, verb=verb, arguments=arguments)}", file=sys.stderr)


def error_row(error: LittoralError) -> dict[str, Plain]:
    """The error as the columns `error` and `message` of a result's row."""
    return {"error": error.code, "message": error.message}


def _value_after(flag: str, arguments: Sequence[str]) -> str:
    """What was given for a flag, as `--flag value` or `--flag=value`."""
    for place, word in enumerate(arguments):
        if word == flag and place + 1 < len(arguments):
            return arguments[place + 1]
        if word.startswith(flag + "="):
            return word.partition("=")[2]
    return ""
