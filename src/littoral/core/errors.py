"""The eight kinds of error, named after who must act next.

    LittoralError(code, message, **context)
    ├── Invalid       the caller mends the request
    ├── NotFound      the caller names something else
    ├── Conflict      the caller reads again, then retries
    ├── Denied        an operator grants access
    ├── Overloaded    the caller waits, then retries
    ├── Expired       the caller gives more time
    ├── Unavailable   the world must change: degrade, queue
    └── Corrupt       an operator repairs: stop, never guess

`code` is a stable word; `docs/errors.md` lists every one. The kinds know no status number:
`littoral.serve.statuses` maps them to HTTP, gRPC and exit codes.
"""

from __future__ import annotations

Plain = str | int | float | bool | None


class LittoralError(Exception):
    """Anything Littoral refuses or fails to do, with a stable code, a plain message and plain context."""

    def __init__(self, code: str, message: str, **context: Plain) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.context = context

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r}, {self.message!r})"


class Invalid(LittoralError):
    """The request itself is wrong; the caller mends it."""


class NotFound(LittoralError):
    """What was named is not here; the caller names something else."""


class Conflict(LittoralError):
    """The state moved under the caller, who reads again and retries."""


class Denied(LittoralError):
    """The caller may not do this; an operator grants access. `anonymous=True` in the context: nobody was named."""


class Overloaded(LittoralError):
    """There is no room now; the caller waits (`retry_after_ms` in the context) and retries."""


class Expired(LittoralError):
    """The time given does not suffice; the caller gives more."""


class Unavailable(LittoralError):
    """Something this depends on is away; degrade or queue until the world changes."""


class Corrupt(LittoralError):
    """Something stored is damaged; an operator repairs it, nobody guesses."""


KINDS: tuple[type[LittoralError], ...] = (
    Invalid,
    NotFound,
    Conflict,
    Denied,
    Overloaded,
    Expired,
    Unavailable,
    Corrupt,
)
