"""Drives a conversation about identity over the wire: one HTTPS connection for each question, blocking."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TypeVar
from urllib.parse import urlsplit

from littoral.core.errors import Invalid, LittoralError, Plain, Unavailable
from littoral.identity.contexts import refusal_in
from littoral.identity.conversations import Ask, Talk
from littoral.serve.client.kinds import error_of_http

T = TypeVar("T")
TIMEOUT_S = 15.0
ANSWER_BYTES_MAX = 1 << 20


def converse(talk: Talk[T], hub: str, *, timeout_s: float = TIMEOUT_S) -> T:
    """Leads a conversation to its end; raises what the hub refuses with, or `Unavailable` (`hub_away`)."""
    try:
        ask = next(talk)
        while True:
            try:
                answer = exchange(hub, ask, timeout_s=timeout_s)
            except LittoralError as error:
                ask = talk.throw(error)
            else:
                ask = talk.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result


def exchange(hub: str, ask: Ask, *, timeout_s: float) -> bytes:
    """One question and the body of its answer."""
    parts = urlsplit(hub)
    if parts.scheme != "https" or not parts.hostname:
        raise Invalid("url_unusable", f"{hub[:80]!r} is no hub's address. Write https://HOST:PORT.")
    connection = http.client.HTTPSConnection(parts.hostname, parts.port or 443, timeout=timeout_s, context=ask.context)
    try:
        headers = {"content-type": "application/json"} if ask.body else {}
        connection.request(ask.method, ask.path, body=ask.body or None, headers=headers)
        answer = connection.getresponse()
        body = answer.read(ANSWER_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        refusal = refusal_in(error) if isinstance(error, ssl.SSLError) else None
        if refusal is not None:
            raise refusal from error
        raise Unavailable("hub_away", f"The hub at {hub} does not answer: {error or type(error).__name__}.") from error
    finally:
        connection.close()
    if len(body) > ANSWER_BYTES_MAX:
        raise Unavailable("answer_unreadable", "The hub's answer is too long to be one. Check the hub's address.")
    if answer.status >= 400:
        raise _error(answer.status, body)
    return body


def _error(status: int, body: bytes) -> LittoralError:
    try:
        told = json.loads(body)
        code, message = str(told.pop("code")), str(told.pop("error"))
        context: dict[str, Plain] = {
            name: value for name, value in told.items() if isinstance(value, str | int | float | bool)
        }
    except (ValueError, KeyError, AttributeError):
        code, message, context = "", f"The hub answered with HTTP status {status} and no reason.", {}
    return error_of_http(status, code, message, context)
