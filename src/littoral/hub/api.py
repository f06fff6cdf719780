"""The hub's API as one ASGI application: finds the route, asks who calls and whether they may, words the errors."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from littoral.core.errors import Denied, Invalid, LittoralError, NotFound
from littoral.hub.asked import Asked, Caller, read_body, read_json, read_query
from littoral.hub.door_limits import DoorLimits
from littoral.hub.streaming import EventStream
from littoral.hub.verb import ANYONE, JSON, SOMEBODY, NoQuery, Verb
from littoral.monitor.log import log_of
from littoral.serve.statuses import status_of

_LOG = log_of("hub.api")
logger = logging.getLogger(__name__)
SESSION_COOKIE = "littoral_session"
_SAFE = ("GET", "HEAD", "OPTIONS")
_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


class Api:
    """Callable as ASGI. `name` says who asks, `refused` is told of each refusal, `counted` of each answer."""

    def __init__(
        self,
        verbs: Sequence[Verb],
        *,
        limits: DoorLimits,
        name: Callable[[Request], Awaitable[Caller]],
        refused: Callable[[Caller, str, LittoralError], Awaitable[None]],
        counted: Callable[[str, int], None],
        fallback: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None,
    ) -> None:
        self._limits = limits
        self._name = name
        self._refused = refused
        self._counted = counted
        self._fallback = fallback
        self._routes = [(Route(verb.path, _unused, methods=[verb.method]), verb) for verb in verbs]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "the door speaks HTTP only"
        request = Request(scope, receive)
        verb, path, allowed = self._find(scope)
        if verb is None and not allowed and self._fallback is not None and not scope["path"].startswith("/v1/"):
            await self._fallback(scope, receive, send)
            return
        route = scope["path"] if verb is None else verb.path
        caller = Caller(address=_address(request))
        try:
            caller = await self._name(request)
            response = await self._answer(verb, path, allowed, request, caller)
        except LittoralError as error:
            response = error_response(error)
            await self._note(caller, f"{scope['method']} {route}"[:200], error)
        except Exception:
            logger.exception("A request to %s failed.", route[:200])
            response = Response(_FAULT, 500, media_type=JSON)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        self._counted("" if verb is None else verb.path, response.status_code)
        await response(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[Verb | None, dict[str, str], list[str]]:
        """The verb for a request; where only the method is wrong, those that would be right."""
        allowed: list[str] = []
        for route, verb in self._routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                return verb, child["path_params"], []
            if match is Match.PARTIAL:
                allowed.append(verb.method)
        return None, {}, allowed

    async def _answer(
        self, verb: Verb | None, path: dict[str, str], allowed: list[str], request: Request, caller: Caller
    ) -> Response:
        if verb is None:
            if allowed:
                words = ", ".join(sorted(allowed))
                raise Invalid("method_wrong", f"This route takes {words}.", allow=words)
            raise NotFound("route_unknown", "There is nothing at this path. GET /openapi.json lists what there is.")
        check_may(caller, verb.needs)
        if caller.cookie and request.method not in _SAFE:
            check_origin(request)
        query = read_query(request, verb.query or NoQuery)
        body: Any = None
        if verb.takes is not None:
            body = read_json(await read_body(request, self._limits, bytes_max=verb.bytes_max), verb.takes)
        response = await verb.answer(Asked(caller, request, path, self._limits, body, query))
        if isinstance(response, EventStream):
            response.guard(lambda: self._check_still(verb, request), every_s=self._limits.stream_check_s)
        return response

    async def _check_still(self, verb: Verb, request: Request) -> None:
        """Whether who opened a stream may still read it: a session ends, a token is revoked, a user is taken out."""
        check_may(await self._name(request), verb.needs)

    async def _note(self, caller: Caller, route: str, error: LittoralError) -> None:
        try:
            await self._refused(caller, route, error)
        except LittoralError as failed:
            _LOG.warning("A refusal was not noted.", reason=failed.message)


def check_may(caller: Caller, needs: Sequence[str]) -> None:
    """`Denied` where a caller has none of the permissions; with `anonymous` where nobody said who they are."""
    if ANYONE in needs:
        return
    if caller.principal is None:
        raise Denied("caller_unknown", "Say who you are: sites by certificate, people by token.", anonymous=True)
    if SOMEBODY not in needs and not any(map(caller.principal.may, needs)):
        caller.principal.require(needs[-1])


def check_origin(request: Request) -> None:
    """A browser's session may change things only from the hub's own pages: another page cannot lend its hand."""
    origin = request.headers.get("origin")
    if origin is None or urlsplit(origin).netloc != request.headers.get("host"):
        raise Denied("origin_wrong", "A session changes things only from the hub's own pages. Use a token elsewhere.")


def error_response(error: LittoralError) -> Response:
    """An error as every door words it: `error`, `code`, and the context beside them."""
    context = {name: value for name, value in error.context.items() if name not in ("error", "code", "anonymous")}
    response = Response(
        msgspec.json.encode({"error": error.message, "code": error.code, **context}),
        status_of(error).http,
        media_type=JSON,
    )
    retry_after_ms = context.get("retry_after_ms")
    if isinstance(retry_after_ms, int | float) and math.isfinite(retry_after_ms):
        response.headers["retry-after"] = str(max(1, math.ceil(retry_after_ms / 1000)))
    if response.status_code == 401:
        response.headers["www-authenticate"] = "Bearer"
    if error.code == "method_wrong":
        response.headers["allow"] = str(context.get("allow", ""))
    if error.code in ("body_too_large", "request_too_slow"):
        response.headers["connection"] = "close"
    return response


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


async def _unused(_request: Request) -> Response:
    raise AssertionError("routes are matched here and answered by verbs")


_FAULT = msgspec.json.encode({"error": "The hub failed; its log says why.", "code": "internal"})
