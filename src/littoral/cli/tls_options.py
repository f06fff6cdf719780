"""The flags about TLS that `serve` takes, and what they mean together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from littoral.cli.options import grouped

if TYPE_CHECKING:
    from littoral.serve.client.tls import ClientTls
    from littoral.serve.tls import Tls

_FILE = click.Path(path_type=Path)


class TlsGiven(TypedDict):
    """What the flags hold."""

    tls_cert: Path | None
    tls_key: Path | None
    tls_client_ca: Path | None
    tls_client_ids: tuple[str, ...]
    upstream_ca: Path | None
    upstream_cert: Path | None


door_tls_options = grouped(
    click.option(
        "--tls-cert",
        metavar="FILE",
        type=_FILE,
        help="Speak TLS 1.3 with this certificate and its chain (PEM). A replaced file is taken as it comes.",
    ),
    click.option("--tls-key", metavar="FILE", type=_FILE, help="The certificate's key. [default: in the same file]"),
    click.option(
        "--tls-client-ca",
        metavar="FILE",
        type=_FILE,
        help="Let in only clients with a certificate of these authorities.",
    ),
    click.option(
        "--tls-client-id",
        "tls_client_ids",
        multiple=True,
        metavar="ID",
        help="Of those, let in only this SPIFFE id. May be given several times.",
    ),
)

upstream_tls_options = grouped(
    click.option(
        "--upstream-ca", metavar="FILE", type=_FILE, help="The authorities of upstreams. [default: the system's]"
    ),
    click.option(
        "--upstream-cert",
        metavar="FILE",
        type=_FILE,
        help="The certificate to show upstreams, with its key in the same file.",
    ),
)


def door_tls(given: TlsGiven) -> Tls | None:
    """Where the doors get their certificates from; None for doors without TLS."""
    from littoral.core.errors import Invalid
    from littoral.serve.tls import TlsFiles

    cert, client_ca, ids = given["tls_cert"], given["tls_client_ca"], given["tls_client_ids"]
    if cert is None:
        if given["tls_key"] is not None or client_ca is not None or ids:
            raise Invalid("arguments_wrong", "TLS needs a certificate. Add --tls-cert FILE.")
        return None
    if ids and client_ca is None:
        raise Invalid("arguments_wrong", "Somebody has to vouch for clients' ids. Add --tls-client-ca FILE.")
    return TlsFiles(cert, given["tls_key"], client_ca)


def upstream_tls(given: TlsGiven) -> ClientTls:
    """Whom to trust upstream, and what to show."""
    from littoral.serve.client.tls import ClientTls

    return ClientTls(ca_file=given["upstream_ca"], cert_file=given["upstream_cert"])
