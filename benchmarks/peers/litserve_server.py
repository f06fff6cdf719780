"""LitServe peer: one LitAPI with one worker process, JSON and a multipart form with a file."""

import sys
from typing import Any

import litserve as ls
import numpy as np
import onnxruntime as ort


class Model(ls.LitAPI):
    def setup(self, device: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
        self.input_name = self.session.get_inputs()[0].name

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        return np.array(request["data"], np.float32).reshape(request["shape"])

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.input_name: x})[0]

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        return {"shape": list(output.shape), "data": output.ravel().tolist()}


if __name__ == "__main__":
    server = ls.LitServer(Model(), accelerator="cpu", devices=1, workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
