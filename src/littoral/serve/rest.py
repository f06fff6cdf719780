"""The routes of the HTTP door: which verb of the data plane a path names, who may call it, and how errors come out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from littoral.core.errors import Denied, Invalid, LittoralError, NotFound, Unavailable
from littoral.core.ident import check_name, is_version
from littoral.monitor.meters import CONTENT_TYPE
from littoral.monitor.tracing import incoming
from littoral.net.frame import Buffer
from littoral.serve import page
from littoral.serve import rest_views as views
from littoral.serve.dataplane import DataPlane
from littoral.serve.http_body import inflate, too_large
from littoral.serve.http_head import Head
from littoral.serve.http_limits import HttpLimits
from littoral.serve.http_reply import (
    COMPRESS_BYTES_MIN,
    TEXT,
    Pending,
    Reply,
    compress,
    error_reply,
    fault_reply,
    json_reply,
    wanted_coding,
)
from littoral.serve.http_stream import Stream
from littoral.serve.openapi import openapi
from littoral.serve.rest_corrections import corrections
from littoral.serve.rest_infer import infer
from littoral.serve.rest_predict import predict

logger = logging.getLogger(__name__)

_INLINE_BYTES_MAX: Final = 4096
"""Up to this many bytes are inflated on the event loop: they cannot grow to more than 4 MB."""

_COMPRESS_INLINE_BYTES_MAX: Final = 32 * 1024
_HINT: Final = (
    b"Littoral speaks the Open Inference Protocol.\n"
    b"GET  /                            a page, in a browser\n"
    b"GET  /v2                          who answers\n"
    b"POST /v2/repository/index         which models there are\n"
    b"POST /v2/models/MODEL/predict     a picture in, labels or boxes out\n"
    b"POST /v2/models/MODEL/infer       tensors in, tensors out\n"
    b"GET  /metrics   GET /openapi.json\n"
)

Verb = Callable[[Head, "Call", Buffer], Reply | Pending | Stream]


@dataclass(frozen=True, slots=True)
class Call:
    """What a path and a method name: a verb, and the model it is about. `refused`: the answer whatever the body is.

    `open_to_all`: no key is asked for. `judged`: the runtime may refuse it before its body has come.
    """

    verb: Verb | None = None
    model: str = ""
    version: str = ""
    refused: LittoralError | None = None
    open_to_all: bool = False
    judged: bool = False


class Rest:
    """The protocol's verbs as HTTP requests; used from one event loop only."""

    def __init__(
        self,
        plane: DataPlane,
        *,
        limits: HttpLimits,
        admit: Callable[[str | None], bool] | None,
        metrics: Callable[[], bytes],
    ) -> None:
        self._plane = plane
        self._limits = limits
        self._admit = admit
        self._metrics = metrics
        self._fixed: dict[tuple[str, ...], dict[str, Call]] = {
            ("",): _get(self._root, open_to_all=True),
            **{(name,): _get(self._page, open_to_all=True) for name in page.TYPES},
            ("v2",): _get(self._server),
            ("v2", "health", "live"): _get(self._live, open_to_all=True),
            ("v2", "health", "ready"): _get(self._ready, open_to_all=True),
            ("v2", "models", "stats"): _get(self._statistics),
            ("v2", "littoral", "corrections"): _get(self._corrections),
            ("v2", "repository", "index"): {"GET": Call(self._index), "POST": Call(self._index)},
            ("metrics",): _get(self._metrics_text, open_to_all=True),
            ("openapi.json",): _get(self._openapi, open_to_all=True),
        }
        self._of_model: dict[str, tuple[str, Verb]] = {
            "": ("GET", self._model),
            "ready": ("GET", self._model_ready),
            "config": ("GET", self._config),
            "stats": ("GET", self._statistics),
            "infer": ("POST", self._infer),
            "predict": ("POST", self._predict),
        }
        self._of_repository: dict[str, Verb] = {"load": self._load, "unload": self._unload}

    # What a connection calls.

    def refusal(self, head: Head, *, arrived: bool) -> Reply | None:
        """The answer to a request that is refused whatever its body says; `arrived`: the body is here already."""
        call: Call = head.call or self._resolve(head)
        refused = call.refused
        if self._admit is not None and not call.open_to_all and not self._admit(head.key):
            refused = _not_admitted(head)
        elif refused is None and not arrived and call.judged:
            refused = self._plane.would_refuse(call.model, call.version, budget_ms=head.deadline_ms)
        return None if refused is None else error_reply(refused)

    def answer(self, head: Head, body: Buffer) -> Reply | Pending | Stream:
        """The answer to a whole request, at once or later; it never raises."""
        call: Call = head.call
        try:
            assert call.verb is not None, "a call without a verb is refused before"
            if head.content_encoding and head.content_encoding != "identity":
                return self._inflated(head, call, body)
            made = call.verb(head, call, body)
        except LittoralError as error:
            return error_reply(self._first(error, call))
        except Exception:
            logger.exception("a request to %s failed", "/".join(head.path)[:200])
            return fault_reply()
        return self._shape(head, made) if head.accept_encoding and not isinstance(made, Stream) else made

    def settle(self, pending: Pending) -> Reply | Pending:
        """The answer, now that its future is done; it never raises."""
        try:
            return pending.finish(pending.future.result())
        except LittoralError as error:
            return error_reply(error)
        except asyncio.CancelledError:
            return error_reply(Unavailable("closing", "This server is closing. Ask another one."))
        except Exception:
            logger.exception("a request failed")
            return fault_reply()

    def _first(self, error: LittoralError, call: Call) -> LittoralError:
        """What to tell first: a model that is not there comes before what is wrong with the body sent to it."""
        if call.judged and isinstance(error, Invalid):
            try:
                self._plane.model_metadata(call.model, call.version)
            except NotFound as missing:
                return missing
            except LittoralError:
                return error
        return error

    # Compression, in both directions.

    def _inflated(self, head: Head, call: Call, body: Buffer) -> Reply | Pending:
        verb, bytes_max = call.verb, self._limits.body_bytes_max
        assert verb is not None

        def go_on(content: bytes) -> Reply | Pending:
            made = verb(head, call, content)
            if isinstance(made, Stream):
                raise Invalid("coding_unknown", "A request for a stream has no body. Send none, and no encoding.")
            return self._shape(head, made)

        if len(body) <= _INLINE_BYTES_MAX:
            return go_on(inflate(bytes(body), head.content_encoding, bytes_max=bytes_max))
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(None, lambda: inflate(bytes(body), head.content_encoding, bytes_max=bytes_max))
        return Pending(work, go_on)

    def _shape(self, head: Head, made: Reply | Pending) -> Reply | Pending:
        """The answer as the caller accepts it: compressed where that is asked for and pays."""
        coding = wanted_coding(head.accept_encoding)
        if not coding:
            return made
        if isinstance(made, Pending):
            finish = made.finish
            return Pending(made.future, lambda result: self._shape(head, finish(result)), made.cancel)
        size = made.size
        if size < COMPRESS_BYTES_MIN:
            return made
        if size <= _COMPRESS_INLINE_BYTES_MAX:
            return compress(made, coding)
        loop = asyncio.get_running_loop()
        return Pending(loop.run_in_executor(None, compress, made, coding), lambda reply: reply)

    # Routes.

    def _resolve(self, head: Head) -> Call:
        try:
            call = self._find(head.path, head.method)
        except LittoralError as error:
            call = Call(refused=error)
        head.call = call
        return call

    def _find(self, path: tuple[str, ...], method: str) -> Call:
        if method == "HEAD":
            method = "GET"
        calls = self._fixed.get(path)
        if calls is None:
            calls = self._find_model(path)
        call = calls.get(method)
        if call is None:
            allow = ", ".join([*calls, "HEAD"] if "GET" in calls else calls)
            raise Invalid("method_wrong", f"{method} is not for this path. Use {allow}.", allow=allow)
        return call

    def _find_model(self, path: tuple[str, ...]) -> dict[str, Call]:
        match path:
            case ("v2", "models", name, "versions", version):
                return self._model_calls(name, version, "")
            case ("v2", "models", name, "versions", version, what) if what in self._of_model:
                return self._model_calls(name, version, what)
            case ("v2", "models", name):
                return self._model_calls(name, "", "")
            case ("v2", "models", name, what) if what in self._of_model:
                return self._model_calls(name, "", what)
            case ("v2", "repository", "models", name, what) if what in self._of_repository:
                return {"POST": Call(self._of_repository[what], check_name(name))}
            case _:
                raise NotFound("route_unknown", "There is nothing at this path. GET / shows where to start.")

    def _model_calls(self, name: str, version: str, what: str) -> dict[str, Call]:
        method, verb = self._of_model[what]
        check_name(name)
        if version and not is_version(version):
            raise Invalid("version_unusable", f"{version[:40]!r} is no version. Versions are whole numbers from 1.")
        judged = what in ("infer", "predict")
        return {method: Call(verb, name, version, judged=judged)}

    # Verbs: each asks the data plane, and words what it says.

    def _infer(self, head: Head, call: Call, body: Buffer) -> Reply | Pending:
        self._check_json_size(head, body)
        if head.traceparent:
            with incoming(head.traceparent):
                return infer(self._plane, call.model, call.version, head, body)
        return infer(self._plane, call.model, call.version, head, body)

    def _predict(self, head: Head, call: Call, body: Buffer) -> Reply | Pending:
        if head.traceparent:
            with incoming(head.traceparent):
                return predict(self._plane, call.model, call.version, head, body)
        return predict(self._plane, call.model, call.version, head, body)

    def _root(self, head: Head, call: Call, body: Buffer) -> Reply:
        """The page for a browser, a hint for everybody else."""
        if head.accepts_html:
            return page.page_file("index.html", more=b"Vary: Accept\r\n")
        return Reply(200, [_HINT], TEXT, b"Vary: Accept\r\n")

    def _page(self, head: Head, call: Call, body: Buffer) -> Reply:
        return page.page_file(head.path[0])

    def _server(self, head: Head, call: Call, body: Buffer) -> Reply:
        return json_reply(views.server(self._plane.server_metadata()))

    def _live(self, head: Head, call: Call, body: Buffer) -> Reply:
        return _health(self._plane.live(), "live", "This server is not live.")

    def _ready(self, head: Head, call: Call, body: Buffer) -> Reply:
        return _health(
            self._plane.ready(), "ready", "Not every model is ready. Ask /v2/repository/index which, and why."
        )

    def _model_ready(self, head: Head, call: Call, body: Buffer) -> Reply:
        if not self._plane.model_ready(call.model, call.version):
            refused = self._plane.would_refuse(call.model, call.version)
            if refused is not None:
                return error_reply(refused)
        return json_reply({"ready": True})

    def _model(self, head: Head, call: Call, body: Buffer) -> Reply:
        return json_reply(views.model(self._plane.model_metadata(call.model, call.version)))

    def _config(self, head: Head, call: Call, body: Buffer) -> Reply:
        return json_reply(views.config(self._plane.model_metadata(call.model, call.version)))

    def _statistics(self, head: Head, call: Call, body: Buffer) -> Reply:
        return json_reply(views.statistics(self._plane.statistics(call.model, call.version)))

    def _index(self, head: Head, call: Call, body: Buffer) -> Reply:
        ready_only = views.read_index_request(body).ready if head.method == "POST" else False
        return json_reply(views.index(self._plane.index(ready_only=ready_only)))

    def _load(self, head: Head, call: Call, body: Buffer) -> Pending:
        views.check_load_request(body)
        return _later(self._plane.load(call.model))

    def _unload(self, head: Head, call: Call, body: Buffer) -> Pending:
        views.check_unload_request(body)
        return _later(self._plane.unload(call.model))

    def _corrections(self, head: Head, call: Call, body: Buffer) -> Reply | Stream:
        return corrections(self._plane, head)

    def _metrics_text(self, head: Head, call: Call, body: Buffer) -> Reply:
        return Reply(200, [self._metrics()], CONTENT_TYPE.encode())

    def _openapi(self, head: Head, call: Call, body: Buffer) -> Reply:
        return json_reply(openapi(self._plane.server_metadata().version))

    def _check_json_size(self, head: Head, body: Buffer) -> None:
        size = len(body) if head.header_length is None else min(head.header_length, len(body))
        if size > self._limits.json_bytes_max:
            raise too_large(self._limits.json_bytes_max, what="JSON (send large tensors as binary data: it)")


def _get(verb: Verb, *, open_to_all: bool = False) -> dict[str, Call]:
    return {"GET": Call(verb, open_to_all=open_to_all)}


def _health(good: bool, word: str, otherwise: str) -> Reply:
    if good:
        return json_reply({word: True})
    return error_reply(Unavailable(f"not_{word}", otherwise))


def _later(work: Any) -> Pending:
    """A verb that takes its time and is done even if its caller goes away."""
    return Pending(asyncio.ensure_future(work), lambda _: json_reply({}), cancel=False)


def _not_admitted(head: Head) -> Denied:
    if head.key is None:
        message = "This server asks for a key. Send `Authorization: Bearer KEY`."
        return Denied("key_missing", message, anonymous=True)
    return Denied("key_unknown", "This key is not known here. Ask the operator for one.", anonymous=True)
