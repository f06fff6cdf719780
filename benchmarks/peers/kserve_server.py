"""KServe peer: one kserve.Model behind the ModelServer, Open Inference Protocol over REST (JSON, binary) and gRPC."""

import sys
from pathlib import Path

import kserve
import onnxruntime as ort
from kserve import InferOutput, InferRequest, InferResponse, ModelServer
from kserve.utils.utils import generate_uuid


class Model(kserve.Model):
    def __init__(self, path: Path) -> None:
        super().__init__(path.stem)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.ready = True

    async def predict(
        self,
        payload: InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> InferResponse:
        tensor = payload.inputs[0]
        y = self.session.run(None, {tensor.name: tensor.as_numpy()})[0]
        output = InferOutput(self.session.get_outputs()[0].name, list(y.shape), "FP32")
        output.set_data_from_numpy(y, binary_data=bool(payload.use_binary_outputs or payload.from_grpc))
        return InferResponse(response_id=payload.id or generate_uuid(), model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    ModelServer(http_port=int(sys.argv[2]), grpc_port=int(sys.argv[3]), workers=1, enable_latency_logging=False).start(
        [Model(Path(sys.argv[1]))]
    )
