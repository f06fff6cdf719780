"""A cascade and an offload against servers that are not ours, unmodified.

One is written for the tests on another stack and shares no line with ours. The other is MLServer from its own package,
where `LITTORAL_MLSERVER` names a Python that has it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import onnxruntime
import pytest

from contract.escalation_stage import (
    BIG,
    LITTLE,
    beside,
    free_port,
    open_builtin,
    repository,
    run_all,
    traffic,
    write_cascade,
)
from littoral.core.tensor import Array
from littoral.edge.serving import serving
from littoral.model import builtin
from littoral.model.function import operator
from littoral.serve.client.client import Client

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
MLSERVER = os.environ.get("LITTORAL_MLSERVER", "")
NEEDS_MLSERVER = pytest.mark.skipif(not MLSERVER, reason="LITTORAL_MLSERVER does not name a Python that has MLServer")
MODEL = """
import numpy as np, onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class Onnx(MLModel):
    async def load(self) -> bool:
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload):
        feeds = {one.name: NumpyCodec.decode_input(one).astype(np.float32) for one in payload.inputs}
        names = [one.name for one in self.session.get_outputs()]
        arrays = self.session.run(names, feeds)
        outputs = [NumpyCodec.encode_output(name, array) for name, array in zip(names, arrays)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
"""


def model_file(name: str) -> Path:
    return builtin.path() / name / "1" / "model.onnx"


@contextmanager
def our_own_stand_in(*flags: str) -> Iterator[str]:
    """The server written for the tests, with both models."""
    models = [f"{name}={model_file(name)}" for name in (LITTLE, BIG)]
    command = [sys.executable, str(HERE / "foreign_server.py"), *models, *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def mlserver() -> Iterator[str]:
    """MLServer with both models, as its own documentation has it: a runtime class and a settings file each."""
    with tempfile.TemporaryDirectory() as place:
        folder, port = Path(place), free_port()
        (folder / "onnx_model.py").write_text(MODEL)
        ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0}
        (folder / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "debug": False, **ports}))
        for name in (LITTLE, BIG):
            model = open_builtin(name)
            signature = {
                side: [{"name": one.name, "datatype": one.datatype, "shape": list(one.shape)} for one in specs]
                for side, specs in (("inputs", model.inputs), ("outputs", model.outputs))
            }
            settings = {"implementation": "onnx_model.Onnx", "parameters": {"uri": str(model_file(name))}, **signature}
            (folder / name).mkdir()
            (folder / name / "model-settings.json").write_text(json.dumps({"name": name, **settings}))
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        log = (folder / "log.txt").open("wb")
        process = subprocess.Popen(
            [MLSERVER, "-m", "mlserver.cli.main", "start", str(folder)], env=environment, stdout=log, stderr=log
        )
        try:
            _until_ready(f"http://127.0.0.1:{port}", folder / "log.txt")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)
            log.close()


def _until_ready(url: str, log: Path) -> None:
    until_s = time.monotonic() + 60
    while True:
        try:
            with urlopen(f"{url}/v2/health/ready", timeout=1):
                return
        except (URLError, OSError):
            assert time.monotonic() < until_s, log.read_text()[-3000:]
            time.sleep(0.2)


SERVERS = [
    pytest.param(our_own_stand_in, id="JSON only"),
    pytest.param(lambda: our_own_stand_in("--binary"), id="with binary tensors"),
    pytest.param(mlserver, id="MLServer", marks=NEEDS_MLSERVER),
]


@pytest.mark.parametrize("server", SERVERS)
async def test_a_cascade_escalates_to_a_server_of_another_make(
    server: Callable[[], AbstractContextManager[str]], tmp_path: Path
) -> None:
    # given a little model with its calibration, and the big one's manifest beside it for the pictures' sake
    folder = repository(tmp_path, LITTLE)
    write_cascade(folder / LITTLE)
    (folder / BIG).mkdir()
    (folder / BIG / "model.toml").write_bytes((builtin.path() / BIG / "model.toml").read_bytes())

    # when traffic runs
    with server() as url:
        async with beside(folder, url) as node:
            story = await traffic(node, seconds=3.0, each_s=0.1)

    # then the contract holds, and the doubtful pictures have the label that the big model gives them
    story.keeps_the_contract()
    escalated = [told for told in story.told if told.answer.parameters.get("answered_by") == BIG]
    own = run_all(open_builtin(BIG))
    assert len(escalated) >= 3
    assert all(told.answer.label == own[told.picture][0] for told in escalated)
    assert all(told.answer.score == pytest.approx(own[told.picture][1], abs=1e-3) for told in escalated)


@operator(name=LITTLE, inputs=[("input", "FP32", (-1, 3, 96, 96))], outputs=[("logits", "FP32", (-1, 6))])
def slow(tensor: Array) -> Array:
    """The same name and signature here, and slower than any upstream."""
    time.sleep(0.4)
    return np.zeros((len(tensor), 6), np.float32)


@pytest.mark.parametrize("server", SERVERS)
def test_what_is_slow_here_is_offloaded_to_a_server_of_another_make(
    server: Callable[[], AbstractContextManager[str]],
) -> None:
    # given a model that takes long here, and an upstream that has it too
    tensor = np.random.default_rng(1).normal(size=(1, 3, 96, 96)).astype(np.float32)

    # when it is asked for, and has run here once, so that this is known
    with server() as url, serving(slow, upstreams=(url,)) as node, Client(node.url) as client:
        client.infer(LITTLE, {"input": tensor}, deadline_ms=2000)
        answers = [client.infer(LITTLE, {"input": tensor}, deadline_ms=2000) for _ in range(5)]

    # then the upstream answered, with the model's own numbers
    assert {answer.parameters["plan"] for answer in answers} == {"offload"}
    session = onnxruntime.InferenceSession(str(model_file(LITTLE)))
    right = session.run(None, {"input": tensor})[0]
    for answer in answers:
        np.testing.assert_allclose(next(iter(answer.outputs.values())), right, rtol=1e-4, atol=1e-4)
