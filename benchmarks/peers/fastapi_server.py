"""FastAPI peer: the forty lines that many projects write, JSON through pydantic and a raw binary body."""

import sys

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel


class Tensor(BaseModel):
    shape: list[int]
    data: list[float]


def main() -> None:
    path, port = sys.argv[1], int(sys.argv[2])
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    spec = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else -1 for size in spec.shape]
    app = FastAPI()

    @app.post("/json")
    async def infer_json(tensor: Tensor) -> Tensor:
        x = np.array(tensor.data, np.float32).reshape(tensor.shape)
        y = session.run(None, {spec.name: x})[0]
        return Tensor(shape=list(y.shape), data=y.ravel().tolist())

    @app.post("/binary")
    async def infer_binary(request: Request) -> Response:
        x = np.frombuffer(await request.body(), np.float32).reshape(shape)
        y = session.run(None, {spec.name: x})[0]
        return Response(y.tobytes(), media_type="application/octet-stream")

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
