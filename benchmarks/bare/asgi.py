"""Bare ASGI on uvicorn and httptools: bytes in, bytes out, or JSON through msgspec; nothing is validated."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import msgspec
import numpy as np
import uvicorn

from benchmarks.bare.session import bare_session

Message = MutableMapping[str, Any]


class Tensor(msgspec.Struct):
    shape: list[int]
    data: list[float]


def application(path: Path) -> Callable[..., Awaitable[None]]:
    session = bare_session(path)
    source, outputs = session.get_inputs()[0], [session.get_outputs()[0].name]
    shape = [size if isinstance(size, int) else -1 for size in source.shape]
    decoder, encoder = msgspec.json.Decoder(Tensor), msgspec.json.Encoder()

    async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[..., Any]) -> None:
        parts: list[bytes] = []
        more = True
        while more:
            message = await receive()
            parts.append(message["body"])
            more = message["more_body"]
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if scope["path"] == "/binary":
            y = session.run(outputs, {source.name: np.frombuffer(body, np.float32).reshape(shape)})[0]
            answer, kind = y.tobytes(), b"application/octet-stream"
        else:
            tensor = decoder.decode(body)
            x = np.array(tensor.data, np.float32).reshape(tensor.shape)
            y = session.run(outputs, {source.name: x})[0]
            answer, kind = encoder.encode(Tensor(list(y.shape), y.ravel().tolist())), b"application/json"
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(Path(sys.argv[1])),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
