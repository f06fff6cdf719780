"""Flags that several verbs share, and the kinds of value they take."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from littoral.core.errors import Invalid, Unavailable
from littoral.core.units import byte_count, bytes_per_ms, milliseconds, share

if TYPE_CHECKING:
    from littoral.serve.client.tls import ClientTls

Command = TypeVar("Command", bound=Callable[..., Any])


def grouped(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator; a command's help lists them in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")

trace_option = click.option(
    "--trace", is_flag=True, help="Tell OpenTelemetry each request's steps; its OTEL_ variables say where to."
)

url_option = click.option(
    "--url",
    metavar="URL",
    envvar="LITTORAL_URL",
    help="The server: http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT. "
    "[default: LITTORAL_URL, else a server on this machine at port 8000]",
)

key_option = click.option(
    "--api-key-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A file whose first line is the key to show the server. [default: LITTORAL_API_KEY holds the key itself]",
)


ca_option = click.option(
    "--ca-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The authorities that the server's certificate is of. [default: the system's]",
)

cert_option = click.option(
    "--cert-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The certificate to show the server, with its key in the same file.",
)


class Duration(click.ParamType[float]):
    """A time such as 100ms, 1.5s or 2min; the value is in milliseconds."""

    name = "duration"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = milliseconds(str(value))
        if found <= 0 and not (self._zero and found == 0):
            raise Invalid("quantity_unreadable", f"{param.opts[0] if param else 'A time'} must be above zero.")
        return found


class Rate(click.ParamType[float]):
    """A rate such as 8Mbit/s; the value is in bytes per millisecond."""

    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = bytes_per_ms(str(value))
        if found <= 0:
            raise Invalid("rate_wrong", "A link's rate must be above zero. To cut a link use --drop or --blackhole.")
        return found


class Share(click.ParamType[float]):
    """A share such as 2% or 0.02; the value is from 0 to 1."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return value if isinstance(value, float) else share(str(value))


class HourlyBytes(click.ParamType[float]):
    """Bytes an hour such as 5MB/h; the value is in bytes."""

    name = "bytes an hour"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return value if isinstance(value, float) else float(byte_count(str(value).removesuffix("/h")))


def read_api_key(file: Path | None) -> str | None:
    """The key in a file's first line, else the one in LITTORAL_API_KEY, else None."""
    if file is None:
        return os.environ.get("LITTORAL_API_KEY") or None
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("file_unreadable", f"The key file {file} cannot be read: {error}.") from error
    for line in lines:
        if line.strip() and not line.startswith("#"):
            return line.strip()
    raise Invalid("api_keys_wrong", f"The key file {file} has no key. Write it on the first line.")


def client_tls(ca_file: Path | None, cert_file: Path | None) -> ClientTls:
    """Whom to trust, and what to show, as the flags say."""
    from littoral.serve.client.tls import ClientTls

    return ClientTls(ca_file=ca_file, cert_file=cert_file)
