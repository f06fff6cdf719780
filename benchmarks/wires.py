"""What goes over the wire: for each dialect the request's path, headers and body, and how its answer is read."""

from __future__ import annotations

import json
import struct
import urllib.request
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2

from benchmarks.exchange import JSON_HEADERS, Exchange
from benchmarks.models import Subject

GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"
GRPC_HEADERS = (("content-type", "application/grpc"), ("te", "trailers"))
BYTES_HEADERS = (("content-type", "application/octet-stream"),)
TIMEOUT_S = 60.0
MESSAGE_BYTES_MAX = 64 << 20


def numbers(x: np.ndarray) -> list[float]:
    """Floats that print as the shortest text that gives the same float32 again."""
    return [float(str(value)) for value in x.ravel()]


def post(address: str, path: str, headers: tuple[tuple[str, str], ...], body: bytes) -> bytes:
    request = urllib.request.Request(f"http://{address}{path}", data=body, headers=dict(headers), method="POST")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        return bytes(answer.read())


def triton_http_input(subject: Subject, *, binary: bool) -> tuple[Any, Any]:
    source = triton_http.InferInput(subject.input_name, list(subject.x.shape), "FP32")
    source.set_data_from_numpy(subject.x, binary_data=binary)
    return source, triton_http.InferRequestedOutput(subject.output_names[0], binary_data=binary)


def ask_over_http(subject: Subject, address: str, *, binary: bool) -> np.ndarray:
    source, output = triton_http_input(subject, binary=binary)
    client = triton_http.InferenceServerClient(address, connection_timeout=TIMEOUT_S, network_timeout=TIMEOUT_S)
    headers = None if binary else {"Content-Type": "application/json"}
    answer = client.infer(subject.name, [source], outputs=[output], headers=headers)
    y = np.asarray(answer.as_numpy(subject.output_names[0]), np.float32)
    client.close()
    return y


def oip_binary(subject: Subject) -> Exchange:
    """Open Inference Protocol over HTTP with Triton's binary tensor extension."""
    source, output = triton_http_input(subject, binary=True)
    generate = triton_http.InferenceServerClient.generate_request_body
    body, header_bytes = generate([source], outputs=[output])
    headers = (*BYTES_HEADERS, ("inference-header-content-length", str(header_bytes)))
    path = f"/v2/models/{subject.name}/infer"
    return Exchange(path, headers, body, lambda address: ask_over_http(subject, address, binary=True))


def with_parameters(subject: Subject, parameters: dict[str, Any]) -> Exchange:
    """`oip_binary` with request parameters, such as the remaining budget `deadline_ms`."""
    source, output = triton_http_input(subject, binary=True)
    generate = triton_http.InferenceServerClient.generate_request_body
    body, header_bytes = generate([source], outputs=[output], parameters=parameters)
    headers = (*BYTES_HEADERS, ("inference-header-content-length", str(header_bytes)))
    plain = oip_binary(subject)
    return Exchange(plain.path, headers, body, plain.ask)


def oip_json(subject: Subject) -> Exchange:
    """Open Inference Protocol over HTTP, tensors as flat lists in JSON."""
    shape = list(subject.x.shape)
    tensor = {"name": subject.input_name, "shape": shape, "datatype": "FP32", "data": numbers(subject.x)}
    body = json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()
    path = f"/v2/models/{subject.name}/infer"
    return Exchange(path, JSON_HEADERS, body, lambda address: ask_over_http(subject, address, binary=False))


def ask_over_grpc(subject: Subject, address: str) -> np.ndarray:
    client = triton_grpc.InferenceServerClient(address)
    source = triton_grpc.InferInput(subject.input_name, list(subject.x.shape), "FP32")
    source.set_data_from_numpy(subject.x)
    answer = client.infer(subject.name, [source], client_timeout=TIMEOUT_S)
    y = answer.as_numpy(subject.output_names[0])
    client.close()
    return np.asarray(y, np.float32)


def oip_grpc(subject: Subject) -> Exchange:
    """Open Inference Protocol over gRPC, raw contents; the body is the message behind its five-byte prefix."""
    message = service_pb2.ModelInferRequest(model_name=subject.name, raw_input_contents=[subject.x.tobytes()])
    tensor = message.inputs.add(name=subject.input_name, datatype="FP32")
    tensor.shape.extend(subject.x.shape)
    plain = message.SerializeToString()
    body = struct.pack(">BI", 0, len(plain)) + plain
    return Exchange(GRPC_PATH, GRPC_HEADERS, body, lambda address: ask_over_grpc(subject, address), is_grpc=True)


def raw_binary(subject: Subject) -> Exchange:
    """No protocol: the tensor's bytes in, the tensor's bytes out."""
    body = subject.x.tobytes()

    def ask(address: str) -> np.ndarray:
        return np.frombuffer(post(address, "/binary", BYTES_HEADERS, body), np.float32).reshape(subject.y.shape)

    return Exchange("/binary", BYTES_HEADERS, body, ask)


def flat_json(subject: Subject, *, path: str = "/json") -> Exchange:
    """No protocol: `{"shape": [...], "data": [...]}` in, the same out."""
    tensor = {"shape": list(subject.x.shape), "data": numbers(subject.x)}
    body = json.dumps(tensor, separators=(",", ":")).encode()

    def ask(address: str) -> np.ndarray:
        answer = json.loads(post(address, path, JSON_HEADERS, body))
        return np.array(answer["data"], np.float32).reshape(answer["shape"])

    return Exchange(path, JSON_HEADERS, body, ask)


def nested_json(subject: Subject, *, path: str = "/infer") -> Exchange:
    """BentoML's own: `{"x": nested lists}` in, nested lists out."""
    nested = np.array(numbers(subject.x)).reshape(subject.x.shape).tolist()
    body = json.dumps({"x": nested}, separators=(",", ":")).encode()

    def ask(address: str) -> np.ndarray:
        return np.array(json.loads(post(address, path, JSON_HEADERS, body)), np.float32)

    return Exchange(path, JSON_HEADERS, body, ask)
