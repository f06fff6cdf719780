"""A hub that only receives, in a process of its own: batches by the rule, one blob by ranges, and what it saw.

    python benchmarks/delivery_hub.py BLOB_FILE

Prints its port. `GET /figures` tells the bytes of bodies that took effect, when the first and last did, and how long
each event of kind "fresh" was behind: its body is the monotonic time at which it was put, on the same machine.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from littoral.core.event import Event
from littoral.net.batch import decode_batch
from littoral.net.receiving import Receipt, encode_receipt, weigh


class ReceivingHub:
    """Marks and figures, in memory."""

    def __init__(self, blob: Path) -> None:
        self._blob = blob
        self._marks: dict[str, int] = {}
        self._arrivals: list[tuple[float, int]] = []
        self._behind_s: list[float] = []
        self._duplicates = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/events", self.events, methods=["POST"]),
                Route("/v1/blobs/{digest}", self.blob),
                Route("/figures", self.figures),
            ]
        )

    async def events(self, request: Request) -> Response:
        verdict = weigh(decode_batch(await request.body()), self._marks)
        self._marks.update(verdict.acks)
        self._duplicates += verdict.duplicates
        now_s, count = time.monotonic(), 0
        for entry in verdict.fresh:
            assert isinstance(entry, Event), "nothing is dropped in this benchmark"
            count += len(entry.body)
            if entry.kind == "fresh":
                self._behind_s.append(now_s - float(entry.body))
        self._arrivals.append((now_s, count))
        return Response(encode_receipt(Receipt(acks=dict(verdict.acks))), media_type="application/json")

    async def blob(self, request: Request) -> Response:
        return FileResponse(self._blob, headers={"ETag": f'"{request.path_params["digest"]}"'})

    async def figures(self, _request: Request) -> Response:
        return JSONResponse(
            {"arrivals": self._arrivals, "behind_s": self._behind_s, "duplicates": self._duplicates},
        )


async def _serve(hub: ReceivingHub) -> None:
    server = uvicorn.Server(uvicorn.Config(hub.app(), host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving


if __name__ == "__main__":
    asyncio.run(_serve(ReceivingHub(Path(sys.argv[1]))))
