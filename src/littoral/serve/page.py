"""The page of one node: a few small files at the HTTP door, which draw the figures that the door has anyway.

They hold no figures themselves, so no key is asked for them; what they show they ask for like any caller, with the key
that its reader types in.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from littoral.serve.http_reply import Reply

FOLDER: Final = Path(__file__).parent / "page"
TYPES: Final = {
    "index.html": b"text/html; charset=utf-8",
    "page.js": b"text/javascript; charset=utf-8",
    "page.css": b"text/css; charset=utf-8",
    "mark.svg": b"image/svg+xml",
}
# Nothing inline and nothing from elsewhere: whatever a model is called, it stays text. Asked again each time, for a
# server that was updated must not be looked at through its old page.
_HEADERS: Final = (
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Referrer-Policy: no-referrer\r\n"
    b"Cross-Origin-Opener-Policy: same-origin\r\n"
    b"Cache-Control: no-cache\r\n"
)


def page_file(name: str, *, more: bytes = b"") -> Reply:
    """One of the page's files."""
    return Reply(200, [_read(name)], TYPES[name], _HEADERS + more)


@cache
def _read(name: str) -> bytes:
    """Read when it is first asked for: a server that nobody looks at does not hold it."""
    return (FOLDER / name).read_bytes()
