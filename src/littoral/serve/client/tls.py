"""Whom a client trusts over TLS, and how it proves who it is."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littoral.core.errors import Invalid, Unavailable


@dataclass(frozen=True, slots=True)
class ClientTls:
    """Files as PEM, or a whole context.

    `ca_file` None: the system's authorities. `cert_file` is the client's own certificate with its chain; `key_file`
    None: the key is in the same file. A client with a certificate speaks TLS 1.3 and nothing older. `context` stands
    for all of them over HTTP (a site's identity makes such); over gRPC, grpcio takes files only. `server_name` is what
    the server's certificate must be for, where that is not the URL's host.
    """

    ca_file: Path | str | None = None
    cert_file: Path | str | None = None
    key_file: Path | str | None = None
    context: ssl.SSLContext | None = None
    server_name: str | None = None


SYSTEM = ClientTls()


def http_context(tls: ClientTls) -> ssl.SSLContext:
    """A client's context, or `Unavailable` (`file_unreadable`), `Invalid` (`tls_files_wrong`)."""
    if tls.context is not None:
        return tls.context
    try:
        context = ssl.create_default_context(cafile=None if tls.ca_file is None else str(tls.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise Unavailable("file_unreadable", f"The CA file {tls.ca_file} cannot be read: {error}.") from error
    if tls.cert_file is not None:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            # The password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        except (OSError, ValueError) as error:
            raise _wrong(tls) from error
    return context


def check_grpc(tls: ClientTls) -> None:
    """`Invalid` (`tls_files_wrong`) where gRPC cannot use it."""
    if tls.context is not None:
        raise Invalid(
            "tls_files_wrong", "grpc:// takes certificates as files, not as a context. Give files, or https://."
        )


def grpc_credentials(grpc: Any, tls: ClientTls) -> Any:
    """The same for grpcio."""
    check_grpc(tls)
    chain = None if tls.cert_file is None else _content(tls.cert_file)
    key = chain if tls.key_file is None else _content(tls.key_file)
    return grpc.ssl_channel_credentials(None if tls.ca_file is None else _content(tls.ca_file), key, chain)


def grpc_options(tls: ClientTls) -> list[tuple[str, Any]]:
    """What a channel has to be told beside its credentials."""
    return [] if tls.server_name is None else [("grpc.ssl_target_name_override", tls.server_name)]


def _content(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error


def _wrong(tls: ClientTls) -> Invalid:
    return Invalid(
        "tls_files_wrong",
        f"{tls.cert_file} and its key cannot be used. Give a certificate with its chain, and its key without a "
        "password, both as PEM.",
        path=str(tls.cert_file),
    )
