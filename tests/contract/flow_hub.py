"""A small hub over real sockets for the flows' tests: it takes events by the rule, and is as rude as a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from littoral.core.desired import Desired
from littoral.core.event import Entry
from littoral.net.batch import decode_batch
from littoral.net.desired import encode_desired
from littoral.net.receiving import Receipt, encode_receipt, weigh

STARTS_S_MAX = 20.0


class FlowHub:
    """What a hub keeps. Its state may be read from the test's thread; a test changes it between requests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marks: dict[str, int] = {}
        self.applied: list[Entry] = []
        self.desired = Desired(0, ())
        self.reported: list[bytes] = []
        self.requests: list[str] = []
        self.refusals: list[Response] = []  # given, one by one, to whoever posts events
        self.forgets_answers = 0  # so many batches take effect and are never acknowledged
        self.blob_bytes_sent = 0
        self.uploads: dict[str, tuple[int, Path]] = {}

    def app(self) -> Starlette:
        """The routes."""
        return Starlette(
            routes=[
                Route("/v1/events", self.events, methods=["POST"]),
                Route("/v1/desired", self.ask_desired),
                Route("/v1/reported", self.report, methods=["PUT"]),
                Route("/v1/blobs/{digest}", self.blob),
                Route("/v1/uploads", self.create, methods=["POST"]),
                Route("/v1/uploads/{digest}", self.upload, methods=["HEAD", "PATCH"]),
            ]
        )

    async def events(self, request: Request) -> Response:
        self.requests.append("events")
        body = await request.body()
        if self.refusals:
            return self.refusals.pop(0)
        verdict = weigh(decode_batch(body), self.marks)
        self.marks.update(verdict.acks)
        self.applied += verdict.fresh
        if self.forgets_answers:
            self.forgets_answers -= 1
            return Response("gone", 502)
        return Response(encode_receipt(Receipt(acks=dict(verdict.acks))), media_type="application/json")

    async def ask_desired(self, request: Request) -> Response:
        self.requests.append("desired")
        after, left_s = int(request.query_params["after"]), float(request.query_params["wait_s"])
        while self.desired.version == after and left_s > 0:
            await asyncio.sleep(0.02)
            left_s -= 0.02
        if self.desired.version == after:
            return Response(status_code=204)
        return Response(encode_desired(self.desired), media_type="application/json")

    async def report(self, request: Request) -> Response:
        self.reported.append(await request.body())
        return Response(status_code=204)

    async def blob(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        path = self.folder / digest
        if not path.is_file():
            return Response('{"error": "There is no such blob.", "code": "blob_unknown"}', 404)
        return FileResponse(path, headers={"ETag": f'"{digest}"'})

    async def create(self, request: Request) -> Response:
        size = int(request.headers["upload-length"])
        path = self.folder / f"upload-{len(self.uploads)}"
        path.touch()
        name = str(len(self.uploads))
        self.uploads[name] = (size, path)
        return Response(status_code=201, headers={"Location": f"/v1/uploads/{name}", "Tus-Resumable": "1.0.0"})

    async def upload(self, request: Request) -> Response:
        if request.path_params["digest"] not in self.uploads:
            return Response(status_code=404)
        size, path = self.uploads[request.path_params["digest"]]
        stands = path.stat().st_size
        if request.method == "HEAD":
            return Response(headers={"Upload-Offset": str(stands), "Upload-Length": str(size)})
        if int(request.headers["upload-offset"]) != stands:
            return Response('{"error": "another offset", "code": "offset_wrong"}', 409)
        with path.open("ab") as stream, contextlib.suppress(ClientDisconnect):
            async for piece in request.stream():
                stream.write(piece)
        return Response(status_code=204, headers={"Upload-Offset": str(path.stat().st_size)})


@contextlib.contextmanager
def serving(hub: FlowHub, *, port: int = 0, tls: tuple[str, str, str] | None = None) -> Iterator[int]:
    """The hub on a port of 127.0.0.1 until the end; `tls`: certificate, key, and who may sign clients' certificates."""
    options: dict[str, Any] = {}
    if tls is not None:
        options = {"ssl_certfile": tls[0], "ssl_keyfile": tls[1], "ssl_ca_certs": tls[2]}
        options["ssl_cert_reqs"] = ssl.CERT_REQUIRED
    config = uvicorn.Config(
        hub.app(),
        host="127.0.0.1",
        port=port,
        log_level="critical",
        lifespan="off",
        timeout_graceful_shutdown=1,
        **options,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    ready = threading.Event()
    for _ in range(int(STARTS_S_MAX / 0.02)):
        if server.started or not thread.is_alive():
            break
        ready.wait(0.02)
    assert server.started, "the test's hub did not start"
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)


def digest_of(content: bytes) -> str:
    """As blobs are named."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
