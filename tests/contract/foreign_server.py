"""A server of the Open Inference Protocol that shares nothing with ours: `http.server`, ONNX Runtime, JSON by hand.

    python foreign_server.py NAME=MODEL.onnx ... [--binary]

Prints its port. It serves tensors only, knows no pictures and no parameters, and refuses what it does not know: that
is what a strict server of another make may do.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import onnxruntime

TYPES = {"tensor(float)": ("FP32", np.float32), "tensor(int64)": ("INT64", np.int64)}
LENGTH = "Inference-Header-Content-Length"


def model_of(path: str) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def told(values: list[Any]) -> list[dict[str, Any]]:
        return [
            {
                "name": one.name,
                "datatype": TYPES[one.type][0],
                "shape": [size if isinstance(size, int) else -1 for size in one.shape],
            }
            for one in values
        ]

    return {"session": session, "inputs": told(session.get_inputs()), "outputs": told(session.get_outputs())}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    models: dict[str, dict[str, Any]] = {}
    binary = False

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        if parts == ["v2"]:
            extensions = ["binary_tensor_data"] if self.binary else []
            self.reply({"name": "foreign", "version": "1", "extensions": extensions})
        elif parts[-1] in ("ready", "live"):
            self.reply({"ready": True})
        elif parts[:2] == ["v2", "models"] and parts[2] in self.models:
            model = self.models[parts[2]]
            shown = {name: model[name] for name in ("inputs", "outputs")}
            self.reply({"name": parts[2], "versions": ["1"], "platform": "onnx", **shown})
        else:
            self.reply({"error": "not found"}, status=404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        name = self.path.strip("/").split("/")[2]
        try:
            self.infer(name, body)
        except (KeyError, ValueError) as error:
            self.reply({"error": repr(error)}, status=400)

    def infer(self, name: str, body: bytes) -> None:
        length = int(self.headers.get(LENGTH, len(body)))
        if length != len(body) and not self.binary:
            raise ValueError("binary data is not spoken here")
        asked, tail = json.loads(body[:length]), body[length:]
        unknown = set(asked.get("parameters") or {}) - {"binary_data_output"}
        if unknown:
            raise ValueError(f"unknown parameters {unknown}")
        feeds = {}
        for given in asked["inputs"]:
            kind = dict(TYPES.values())[given["datatype"]]
            if "data" in given:
                array = np.array(given["data"], kind)
            else:
                size = given["parameters"]["binary_data_size"]
                array, tail = np.frombuffer(tail[:size], kind), tail[size:]
            feeds[given["name"]] = array.reshape(given["shape"])
        model = self.models[name]
        outputs, raws = [], b""
        for spec, array in zip(model["outputs"], model["session"].run(None, feeds), strict=True):
            told = {"name": spec["name"], "datatype": spec["datatype"], "shape": list(array.shape)}
            if self.binary:
                outputs.append({**told, "parameters": {"binary_data_size": array.nbytes}})
                raws += array.tobytes()
            else:
                outputs.append({**told, "data": array.ravel().tolist()})
        answer = {"model_name": name, "model_version": "1", "id": asked.get("id", ""), "outputs": outputs}
        self.reply(answer, raws)

    def reply(self, value: Any, tail: bytes = b"", *, status: int = 200) -> None:
        head = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(head) + len(tail)))
        if tail:
            self.send_header(LENGTH, str(len(head)))
        self.end_headers()
        self.wfile.write(head + tail)


if __name__ == "__main__":
    Handler.binary = "--binary" in sys.argv
    Handler.models = {
        name: model_of(path) for name, _, path in (one.partition("=") for one in sys.argv[1:] if "=" in one)
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
