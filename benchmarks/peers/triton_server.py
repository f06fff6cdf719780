"""Triton peer: the C++ server from the nvidia-pytriton wheel with its Python backend, OIP over REST and gRPC."""

import os
import sys
import tempfile
from pathlib import Path

MODEL = """
import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = ort.InferenceSession({path!r}, options, providers=["CPUExecutionProvider"])
        self.input_name = self.session.get_inputs()[0].name
        self.output_name = self.session.get_outputs()[0].name

    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(each, self.input_name).as_numpy() for each in requests]
        if len(inputs) == 1 or not {batched}:
            outputs = [self.session.run(None, {{self.input_name: x}})[0] for x in inputs]
        else:
            y = self.session.run(None, {{self.input_name: np.concatenate(inputs)}})[0]
            outputs = np.split(y, np.cumsum([len(x) for x in inputs])[:-1])
        return [
            pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor(self.output_name, np.ascontiguousarray(y))])
            for y in outputs
        ]
"""

CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: {batch_size_max}
input [{{ name: "{input_name}", data_type: TYPE_FP32, dims: {input_shape} }}]
output [{{ name: "{output_name}", data_type: TYPE_FP32, dims: {output_shape} }}]
instance_group [{{ count: 1, kind: KIND_CPU }}]
{batching}
"""


def write_repository(folder: Path, path: Path, *, batching: bool) -> None:
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    source, result = session.get_inputs()[0], session.get_outputs()[0]
    batched = not isinstance(source.shape[0], int)
    home = folder / path.stem
    (home / "1").mkdir(parents=True)
    (home / "1" / "model.py").write_text(MODEL.format(path=str(path), batched=batched))
    config = CONFIG.format(
        name=path.stem,
        batch_size_max=32 if batched else 0,
        input_name=source.name,
        output_name=result.name,
        input_shape=source.shape[batched:],
        output_shape=result.shape[batched:],
        batching="dynamic_batching { }" if batched and batching else "",
    )
    (home / "config.pbtxt").write_text(config)


def main() -> None:
    import pytriton

    path, http_port, grpc_port = Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3]
    root = Path(pytriton.__file__).parent / "tritonserver"
    folder = Path(tempfile.mkdtemp(prefix="triton-"))
    write_repository(folder, path, batching=sys.argv[-1] == "batching")
    stub = root / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}"
    backend = folder.with_name(folder.name + "-backends") / "python"
    backend.mkdir(parents=True)
    for each in [*(root / "backends" / "python").glob("*.*"), stub / "triton_python_backend_stub"]:
        (backend / each.name).symlink_to(each)
    # The stub embeds Python and finds its home through PATH; it was built against NumPy 1, so it must find this one.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).absolute().parent), os.environ["PATH"]])
    arguments = [
        str(root / "bin" / "tritonserver"),
        f"--model-repository={folder}",
        f"--backend-directory={backend.parent}",
        "--http-address=127.0.0.1",
        f"--http-port={http_port}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={grpc_port}",
        "--allow-metrics=false",
        "--log-verbose=0",
        "--disable-auto-complete-config",
    ]
    os.execv(arguments[0], arguments)


if __name__ == "__main__":
    main()
