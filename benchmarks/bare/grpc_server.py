"""Bare grpcio with raw-bytes handlers, a thread server or grpc.aio: the tensor is the message's tail, unvalidated."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import grpc
import numpy as np

from benchmarks.bare.session import bare_session

OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
THREADS = 4


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def answering(path: Path) -> Callable[[bytes], bytes]:
    """A function from a ModelInferRequest's bytes to a ModelInferResponse's."""
    session = bare_session(path)
    source, output = session.get_inputs()[0], session.get_outputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in source.shape]
    count = int(np.prod(shape))
    y = session.run([output.name], {source.name: np.zeros(shape, np.float32)})[0]
    # ModelInferResponse: 1 model_name, 5 outputs (1 name, 2 datatype, 3 shape), 6 raw_output_contents.
    tensor = field(1, output.name.encode()) + field(2, b"FP32") + field(3, b"".join(map(varint, y.shape)))
    prefix = field(1, path.stem.encode()) + field(5, tensor) + b"\x32" + varint(y.nbytes)

    def answer(body: bytes) -> bytes:
        x = np.frombuffer(body, np.uint8)[-4 * count :].view(np.float32).reshape(shape)
        result = session.run([output.name], {source.name: x})[0]
        return prefix + bytes(result.tobytes())

    return answer


def handlers(method: Any) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        "inference.GRPCInferenceService", {"ModelInfer": grpc.unary_unary_rpc_method_handler(method)}
    )


def serve_threads(path: Path, port: int) -> None:
    answer = answering(path)
    server = grpc.server(ThreadPoolExecutor(THREADS), options=OPTIONS)
    server.add_generic_rpc_handlers((handlers(lambda body, context: answer(body)),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


async def serve_aio(path: Path, port: int) -> None:
    answer = answering(path)

    async def method(body: bytes, context: Any) -> bytes:
        return answer(body)

    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((handlers(method),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    model, grpc_port = Path(sys.argv[1]), int(sys.argv[3])
    if sys.argv[-1] == "aio":
        asyncio.run(serve_aio(model, grpc_port))
    else:
        serve_threads(model, grpc_port)
