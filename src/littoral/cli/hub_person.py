"""Asking a hub as a person: which hub, with whose token, whom to trust; and its errors as ours."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from littoral.cli.options import read_api_key
from littoral.core.errors import Denied, Invalid, Plain, Unavailable

if TYPE_CHECKING:
    import httpx

F = TypeVar("F", bound=Callable[..., Any])
TIMEOUT_S = 30.0
_NEEDS = "Asking a hub needs more: pip install 'littoral[edge]'."


@dataclass(frozen=True, slots=True)
class HubPlace:
    """What the flags say: a hub's URL or its folder on this machine, a token's file, the hub's authority's file."""

    hub: str
    token_file: Path | None
    ca: Path | None


def hub_options(command: F) -> F:
    """The flags that every verb has which asks a hub; they come as `hub`, `token_file` and `ca`."""
    for option in (
        click.option(
            "--ca",
            metavar="FILE",
            envvar="LITTORAL_HUB_CA",
            type=click.Path(path_type=Path),
            help="The hub's authority (its ca.pem). [default: LITTORAL_HUB_CA, else the folder's]",
        ),
        click.option(
            "--token-file",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="A file whose first line is your token. [default: LITTORAL_HUB_TOKEN, else the folder's]",
        ),
        click.option(
            "--hub",
            metavar="URL|DIR",
            envvar="LITTORAL_HUB",
            help="The hub: https://HOST:PORT, or its folder on this machine. [default: LITTORAL_HUB]",
        ),
    ):
        command = option(command)
    return command


class HubPerson:
    """A person's conversation with a hub; answers are JSON objects."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str, **query: Any) -> Any:
        """What is at a path."""
        return self.ask("GET", path, params={name: value for name, value in query.items() if value not in (None, "")})

    def post(self, path: str, body: Any = None) -> Any:
        """Something new."""
        return self.ask("POST", path, json=body)

    def put(self, path: str, body: Any) -> Any:
        """Something in place of what was."""
        return self.ask("PUT", path, json=body)

    def ask(self, method: str, path: str, **given: Any) -> Any:
        """One request and its answer's JSON; None where it is empty."""
        answer = self.send(method, path, **given)
        return answer.json() if answer.content else None

    def send(self, method: str, path: str, **given: Any) -> httpx.Response:
        """One request; an error that the hub tells is raised as ours."""
        with _told():
            answer = self._client.request(method, path, **given)
            _check(answer)
            return answer

    def follow(self, path: str, **query: Any) -> Iterator[tuple[str, Any]]:
        """The name and the value of each event of a stream, until it ends."""
        params = {name: value for name, value in query.items() if value not in (None, "")}
        with _told(), self._client.stream("GET", path, params=params, timeout=TIMEOUT_S) as answer:
            if answer.status_code >= 400:
                answer.read()
            _check(answer)
            name = ""
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)


@contextmanager
def hub_person(hub: str | None, token_file: Path | None, ca: Path | None) -> Iterator[HubPerson]:
    """Connects as the flags say; for a folder of this machine its own token and authority are what is not said."""
    if not hub:
        raise Invalid("hub_unnamed", "Which hub? Name its URL or its folder with --hub, or set LITTORAL_HUB.")
    try:
        import httpx
    except ImportError as error:
        raise Unavailable("extra_missing", _NEEDS) from error
    folder = None if "://" in hub else Path(hub)
    url = hub if folder is None else _running_at(folder)
    if not url.startswith("https://"):
        raise Invalid("url_unusable", f"{hub!r} is no hub's address. Write https://HOST:PORT, or name its folder.")
    token = _token(token_file, folder)
    with httpx.Client(
        base_url=url,
        verify=_context(ca, folder),
        headers={"Authorization": f"Bearer {token}"},
        timeout=TIMEOUT_S,
        trust_env=False,
    ) as client:
        yield HubPerson(client)


def _token(file: Path | None, folder: Path | None) -> str:
    if file is not None:
        return read_api_key(file) or ""
    token = os.environ.get("LITTORAL_HUB_TOKEN", "")
    if token:
        return token
    if folder is not None:
        return read_api_key(folder / "admin.token") or ""
    raise Denied("token_missing", "Who are you? Give --token-file, or set LITTORAL_HUB_TOKEN.", anonymous=True)


def _context(ca: Path | None, folder: Path | None) -> ssl.SSLContext:
    file = ca if ca is not None or folder is None else folder / "ca.pem"
    try:
        context = ssl.create_default_context(cafile=None if file is None else str(file))
    except (OSError, ssl.SSLError) as error:
        raise Unavailable("file_unreadable", f"The authority's file {file} cannot be read: {error}.") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _running_at(folder: Path) -> str:
    from littoral.hub.hold import running_at

    return running_at(folder)


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong on the way, as ours."""
    import httpx

    try:
        yield
    except httpx.ConnectError as error:
        raise Unavailable(
            "hub_away", f"The hub does not answer, or is not the one that was trusted: {error}. Is it running?"
        ) from error
    except (httpx.HTTPError, json.JSONDecodeError) as error:
        raise Unavailable("hub_away", f"The hub's answer did not come: {error or type(error).__name__}.") from error


def _check(answer: httpx.Response) -> None:
    if answer.status_code < 400:
        return
    from littoral.serve.client.kinds import error_of_http

    try:
        told = answer.json()
        code, message = str(told.pop("code")), str(told.pop("error"))
    except (ValueError, KeyError, AttributeError):
        told, code, message = {}, "", f"The hub answered {answer.status_code}."
    context: dict[str, Plain] = {str(name): it for name, it in told.items() if isinstance(it, str | int | float)}
    raise error_of_http(answer.status_code, code, message, context)
