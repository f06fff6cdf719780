"""The hub that `page.py` looks at: a process of its own, with a crowd of made-up sites that tell each second."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests"))

from crowd import Crowd
from littoral.hub.founding import found
from littoral.hub.hub import Hub
from littoral.hub.settings import HubFile, HubSettings, read_file

PASSWORD = "seen by a benchmark"


async def serve(folder: Path, count: int) -> None:
    """Says where it is, once everybody is there, and goes on until it is killed."""
    found(folder, HubFile(domain="page.test"), password=PASSWORD)
    hub = Hub(HubSettings(folder, read_file(folder), port=0, http_port=None, grpc_port=None))
    standing = await hub.start()
    crowd = Crowd(hub, count)
    await crowd.enter()
    print(json.dumps({"url": standing.url}), flush=True)
    await crowd.run()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="littoral-page-") as place:
        asyncio.run(serve(Path(place) / "hub", int(sys.argv[1])))
