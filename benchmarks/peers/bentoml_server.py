"""BentoML peer: one @bentoml.service with a NumPy signature, served by `bentoml serve` with one worker."""

import os
import sys

import bentoml
import numpy as np
import onnxruntime as ort

MODEL_PATH_VARIABLE = "BENCHMARK_MODEL_PATH"


@bentoml.service(workers=1, traffic={"timeout": 60})
class Model:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        path = os.environ[MODEL_PATH_VARIABLE]
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input_name = self.session.get_inputs()[0].name

    @bentoml.api
    async def infer(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.input_name: x.astype(np.float32)})[0]


if __name__ == "__main__":
    os.environ[MODEL_PATH_VARIABLE] = sys.argv[1]
    target = "benchmarks.peers.bentoml_server:Model"
    command = [sys.executable, "-m", "bentoml", "serve", target, "--host", "127.0.0.1", "--port", sys.argv[2]]
    os.execv(sys.executable, command)
