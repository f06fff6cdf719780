"""MLServer peer: one custom MLModel, no inference pool (its fastest setting), JSON and gRPC."""

import json
import os
import sys
import tempfile
from pathlib import Path

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Model(MLModel):
    async def load(self) -> bool:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        path = self.settings.parameters.uri
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        x = NumpyCodec.decode_input(tensor)
        y = self.session.run(None, {tensor.name: x})[0]
        output = NumpyCodec.encode_output(self.session.get_outputs()[0].name, y)
        return InferenceResponse(model_name=self.name, outputs=[output])


def main() -> None:
    path, http_port, grpc_port, metrics_port = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    folder = Path(tempfile.mkdtemp(prefix="mlserver-"))
    settings = {
        "host": "127.0.0.1",
        "http_port": http_port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "parallel_workers": 0,
        "debug": False,
        "grpc_max_message_length": 64 << 20,
    }
    model = {
        "name": path.stem,
        "implementation": "mlserver_server.Model",
        "parameters": {"uri": str(path)},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    os.chdir(folder)
    os.execv(sys.executable, [sys.executable, "-m", "mlserver.cli.main", "start", "."])


if __name__ == "__main__":
    main()
