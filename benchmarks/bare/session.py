"""The bare engine's session, as every bare arm and the engine loop open it: CPU, one thread, no spinning."""

from pathlib import Path

import onnxruntime as ort


def bare_session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
