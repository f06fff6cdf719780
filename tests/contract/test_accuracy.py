"""Real models on real pictures: as accurate as when they were measured with other tools."""

from __future__ import annotations

import csv
from pathlib import Path

import httpx
import numpy as np
import pytest

import littoral
from contract.real_models import lay_out, source_of
from littoral.core.request import NO_PARAMETERS, InferRequest
from littoral.core.tensor import Array, Tensor, bytes_array
from littoral.model.model import Model
from littoral.model.opening import open_model
from littoral.model.tasks.nms import overlap

pytest.importorskip("ai_edge_litert")

Box = tuple[str, list[float]]

# What others' code found on bus.jpg with the same models (OpenCV's decoding and resize, class-wise suppression at 0.5):
# x1, y1, x2, y2 in the picture's pixels. A model may find more than these.
PEOPLE_AND_BUS: dict[str, list[Box]] = {
    "yolox_nano": [
        ("bus", [14, 231, 801, 733]),
        ("person", [50, 395, 216, 898]),
        ("person", [220, 402, 347, 855]),
        ("person", [685, 454, 810, 874]),
    ],
    "yolox_nano_fp16": [
        ("bus", [14, 231, 801, 733]),
        ("person", [50, 395, 216, 898]),
        ("person", [220, 402, 347, 855]),
        ("person", [685, 454, 810, 874]),
    ],
    "nanodet_m": [
        ("person", [49, 395, 221, 908]),
        ("bus", [143, 222, 776, 730]),
        ("person", [673, 330, 809, 876]),
        ("person", [228, 405, 355, 799]),
        ("person", [1, 513, 75, 875]),
    ],
    "ssd_mobilenet_v1": [
        ("person", [51, 379, 221, 899]),
        ("person", [213, 385, 355, 851]),
        ("person", [666, 324, 811, 861]),
    ],
    "yolov5n_fp16": [
        ("person", [219, 408, 349, 862]),
        ("person", [52, 399, 207, 895]),
        ("person", [680, 377, 815, 870]),
        ("bus", [49, 237, 819, 772]),
    ],
    "yolov5n_int8": [
        ("person", [226, 399, 347, 869]),
        ("person", [44, 402, 218, 905]),
        ("person", [671, 390, 812, 859]),
        ("bus", [39, 232, 814, 775]),
    ],
    "yolov8n_int8": [
        ("person", [671, 375, 810, 876]),
        ("person", [51, 398, 243, 904]),
        ("person", [221, 408, 343, 856]),
        ("bus", [32, 231, 798, 768]),
        ("person", [1, 552, 58, 868]),
    ],
}


def ask(model: Model, tensor: Tensor, *outputs: str) -> dict[str, Array]:
    """The model's answer to one request, by output name."""
    call = model.check(InferRequest(model.name, (tensor,), outputs=outputs))
    return {made.name: made.array for made in model.run(call, NO_PARAMETERS)}


def picture(path: Path) -> Tensor:
    return Tensor("image", "BYTES", bytes_array([path.read_bytes()]))


@pytest.mark.parametrize(
    ("name", "top_1_min"),
    [
        ("mobilenet_v2_uint8", 0.885),
        ("mobilenet_v2_qlinear", 0.668),
        ("squeezenet_fp16", 0.595),
        ("mobilenet_v1_half_uint8", 0.698),
    ],
)
def test_a_classifier_behind_the_door_is_as_accurate_as_it_was_measured(
    name: str, top_1_min: float, littoral_data: Path, tmp_path: Path
) -> None:
    # given a server of the model, and 500 labelled pictures
    home = littoral_data / "imagenet1k"
    with (home / "labels.csv").open(newline="") as stream:
        known = {row["file"]: int(row["class_index"]) for row in csv.DictReader(stream)}
    lay_out([name], littoral_data, tmp_path)

    # when each is posted to `predict`
    right = []
    with littoral.serving(tmp_path, grpc_port=None) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        for file, truth in known.items():
            answer = client.post(f"/v2/models/{name}/predict", content=(home / "images" / file).read_bytes())
            right.append(answer.raise_for_status().json()["predictions"][0]["class_id"] == truth)

    # then as many come out right as with other tools
    assert len(right) == 500
    assert np.mean(right) >= top_1_min


@pytest.mark.parametrize("name", PEOPLE_AND_BUS)
def test_a_detector_finds_the_people_and_the_bus_where_others_found_them(name: str, littoral_data: Path) -> None:
    model = open_model(source_of(name, littoral_data))

    seen = ask(model, picture(littoral_data / "images" / "bus.jpg"))

    model.close()
    for label, box in PEOPLE_AND_BUS[name]:
        alike = seen["box"][seen["label"] == label.encode()]
        assert overlap(np.array(box, np.float32), alike).max(initial=0) >= 0.9, (label, box)
    assert len(seen["box"]) <= len(PEOPLE_AND_BUS[name]) + 2
    assert (np.diff(seen["score"]) <= 0).all()


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("yolox_nano", [b"person", b"person", b"tie"]),
        ("yolov8n_int8", [b"person", b"person", b"tie"]),
    ],
)
def test_a_detector_finds_two_men_and_a_tie(name: str, labels: list[bytes], littoral_data: Path) -> None:
    model = open_model(source_of(name, littoral_data))

    seen = ask(model, picture(littoral_data / "images" / "zidane.jpg"))

    model.close()
    assert seen["label"].tolist()[: len(labels)] == labels
    assert ((seen["box"] >= 0) & (seen["box"] <= [1280, 720, 1280, 720])).all()


@pytest.mark.parametrize(("name", "error_mean"), [("ad01_fp32", 9.709), ("ad01_int8", 10.267)])
def test_an_autoencoder_reports_the_error_of_a_normal_machine(
    name: str, error_mean: float, littoral_data: Path
) -> None:
    sounds = np.fromfile(littoral_data / "tinyml" / "ad01_normal_id_01_hist_librosa.bin", np.float32).reshape(40, 640)
    model = open_model(source_of(name, littoral_data))
    (spec,) = model.inputs
    stored = sounds
    if spec.datatype == "INT8":
        code = model.engine.quantization[spec.name]
        stored = np.clip(np.rint(sounds / code.scale + code.zero_point), -128, 127).astype(np.int8)

    answers = [ask(model, Tensor.of(spec.name, row[np.newaxis]), "score", "anomalous") for row in stored]

    model.close()
    # The int8 figure was taken against the sound before it was rounded to 8 bits, which a server never sees.
    assert np.mean([answer["score"][0] for answer in answers]) == pytest.approx(error_mean, abs=0.02)
    assert not any(answer["anomalous"][0] for answer in answers)


def test_the_autoencoders_own_output_is_still_there(littoral_data: Path) -> None:
    model = open_model(source_of("ad01_fp32", littoral_data))
    given = Tensor.of(model.inputs[0].name, np.zeros((1, 640), np.float32))

    answer = ask(model, given)

    own = model.outputs[0].name
    model.close()
    assert answer[own].shape == (1, 640)
    assert answer["score"][0] == pytest.approx(np.square(answer[own]).mean(), rel=1e-5)
