"""The real models of `$LITTORAL_DATA` that tests serve, each under the name of its manifest in `manifests/`."""

from __future__ import annotations

import shutil
from pathlib import Path

from littoral.model.repository import ModelSource

MANIFESTS = Path(__file__).parent / "manifests"

FILES = {
    "mobilenet_v2_uint8": "classifiers/mobilenet_v2_1.0_224_quant.tflite",
    "mobilenet_v1_half_uint8": "classifiers/mobilenet_v1_0.5_160_quant.tflite",
    "mobilenet_v2_qlinear": "classifiers/mobilenet_v2_quant.onnx",
    "squeezenet_fp16": "classifiers/squeezenet_fp16.onnx",
    "yolox_nano": "detectors/yolox_nano.onnx",
    "yolox_nano_fp16": "detectors/yolox_nano_float16.tflite",
    "nanodet_m": "detectors/nanodet_m.onnx",
    "ssd_mobilenet_v1": "detectors/ssd_mobilenet_v1_quant.tflite",
    "yolov5n_fp16": "detectors/yolov5n-fp16.tflite",
    "yolov5n_int8": "detectors/yolov5n-int8.tflite",
    "yolov8n_int8": "detectors/yolov8n_int8.tflite",
    "ad01_fp32": "tinyml/ad01_fp32.tflite",
    "ad01_int8": "tinyml/ad01_int8.tflite",
}


def source_of(name: str, home: Path) -> ModelSource:
    """The model where it lies, with its manifest."""
    return ModelSource(name, "1", home / FILES[name], MANIFESTS / f"{name}.toml")


def lay_out(names: list[str], home: Path, repository: Path) -> None:
    """A repository of these models, as a server takes it: `<name>/model.toml`, its labels, `<name>/1/model.*`."""
    for name in names:
        file = home / FILES[name]
        (repository / name / "1").mkdir(parents=True)
        shutil.copy(MANIFESTS / f"{name}.toml", repository / name / "model.toml")
        for labels in MANIFESTS.glob("*.txt"):
            shutil.copy(labels, repository / name / labels.name)
        shutil.copy(file, repository / name / "1" / f"model{file.suffix}")
