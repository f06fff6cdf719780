"""Where a server is, as its URL says: http, https, grpc or grpcs, a host and a port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from littoral.core.errors import Invalid

ADDRESSES_MAX = 4  # of one upstream
_PORTS = {"http": 8000, "https": 8000, "grpc": 8001, "grpcs": 8001}
_LIST = "Write one address, or several of one server with commas between: grpc://HOST:8001,http://HOST:8000."


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL; `prefix` is the path before `/v2`, without a slash at its end."""

    wire: Literal["http", "grpc"]
    host: str
    port: int
    tls: bool
    prefix: str = ""

    @property
    def authority(self) -> str:
        """`host:port`, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL again, in full."""
        return f"{self.wire}{'s' if self.tls else ''}://{self.authority}{self.prefix}"


def read_address(url: str) -> Address:
    """The address in a URL such as `http://127.0.0.1:8000`, `grpc://edge-7` or `edge-7:8000`; else `Invalid`."""
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
        parts = urlsplit("")
    if parts.scheme not in _PORTS or not host or parts.username or parts.query or parts.fragment:
        raise Invalid(
            "url_unusable",
            f"{url[:80]!r} is not a server's address. Write http://HOST:PORT, https://HOST:PORT or grpc://HOST:PORT.",
        )
    return Address(
        "grpc" if parts.scheme.startswith("grpc") else "http",
        host,
        _PORTS[parts.scheme] if port is None else port,
        parts.scheme in ("https", "grpcs"),
        parts.path.rstrip("/"),
    )


def read_addresses(urls: str | Sequence[str]) -> tuple[Address, ...]:
    """The addresses in one URL or several, in order, each once; `Invalid` (`url_unusable`) where there is none."""
    found = tuple(dict.fromkeys(read_address(url) for url in ([urls] if isinstance(urls, str) else urls)))
    if not found:
        raise Invalid("url_unusable", "A client needs a server's address. Write http://HOST:PORT.")
    return found


def read_upstream(text: str) -> tuple[Address, ...]:
    """The addresses of one server, in order of preference: `grpc://hub:8001,http://hub:8000`, or just one.

    `Invalid` (`url_unusable`) for what is no such list. One that mixes TLS with none is refused: who blocks the one
    must not get the other.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1:
        return (read_address(text),)
    if len(parts) > ADDRESSES_MAX:
        raise _no_list(text, f"has more than {ADDRESSES_MAX} addresses")
    if not all(parts):
        raise _no_list(text, "has an empty address")
    for part in parts:
        if "://" not in part or len(part.split()) > 1:
            raise _no_list(text, f"has {part[:80]!r}, which does not say how and where to connect")
    addresses = tuple(read_address(part) for part in parts)
    if len(set(addresses)) < len(addresses):
        raise _no_list(text, "has an address twice")
    if len({address.tls for address in addresses}) > 1:
        raise Invalid(
            "url_unusable",
            f"{text[:200]!r} would fall back from TLS to none. Write only https:// and grpcs://, or only http:// and "
            "grpc://.",
        )
    return addresses


def _no_list(text: str, what: str) -> Invalid:
    return Invalid("url_unusable", f"{text[:200]!r} {what}. {_LIST}")
