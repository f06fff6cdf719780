"""ONNX Runtime, told to keep to itself before it is loaded.

Its builds since 1.29 write an identifier of the machine into the user's cache and a file into the temporary folder, and
send to its maker what was run. A server in somebody's factory must not: whoever wants it sets the variable to 0.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read once, when the library is loaded

import onnxruntime as ort

__all__ = ["ort"]
