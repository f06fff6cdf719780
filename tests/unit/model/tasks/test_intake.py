"""From pixels to the tensor a model takes: layouts, colours, scaling, types, and signatures that cannot be served."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from littoral.core.errors import Invalid
from littoral.core.tensor import Array, TensorSpec
from littoral.model.engine import Quantization
from littoral.model.manifest import InputSection
from littoral.model.tasks.intake import build_intake
from unit.model.tasks.encoded import encode, noise

PICTURE = noise(12, 8)
ENCODED = encode(PICTURE, "PNG")
RGB = np.asarray(PICTURE).astype(np.float64)  # [8, 12, 3]
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def tensor(shape: tuple[int, ...], datatype: str, quantization: Quantization | None = None, **section: Any) -> Array:
    """The model's input for the picture above."""
    known = {} if quantization is None else {"pixels": quantization}
    intake = build_intake(InputSection(**section), (TensorSpec("pixels", datatype, shape),), known)
    (made,) = intake.prepare(ENCODED).arrays
    assert made.flags.c_contiguous
    return made


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
@pytest.mark.parametrize("shape", [(1, 3, 8, 12), (1, 8, 12, 3), (-1, 3, 8, 12), (-1, 8, 12, 3)])
def test_mean_and_std_belong_to_the_models_channels_in_every_layout(shape: tuple[int, ...], colour: str) -> None:
    made = tensor(shape, "FP32", colour=colour, mean=MEAN, std=STD)

    channels = RGB if colour == "RGB" else RGB[..., ::-1]
    expected = (channels - MEAN) / STD
    assert made.dtype == np.float32
    assert made[0] == pytest.approx(expected if shape[3] == 3 else expected.transpose(2, 0, 1), abs=1e-5)


def test_float16_is_rounded_once() -> None:
    made = tensor((1, 3, 8, 12), "FP16", mean=MEAN)

    assert (made[0] == (RGB - MEAN).transpose(2, 0, 1).astype(np.float16)).all()


def test_one_mean_and_std_serve_every_channel() -> None:
    made = tensor((1, 8, 12, 3), "FP32", mean=(127.5,), std=(127.5,))

    assert made[0] == pytest.approx(RGB / 127.5 - 1, abs=1e-6)


@pytest.mark.parametrize(
    ("datatype", "quantization", "expected"),
    [
        ("UINT8", None, RGB),
        ("UINT8", Quantization(1 / 128, 128), RGB),
        ("UINT8", Quantization(1 / 255, 0), RGB),
        ("INT8", Quantization(1.0, -128), RGB - 128),
        ("INT8", Quantization(1 / 255, -128), RGB - 128),
        ("INT8", None, RGB - 128),
    ],
)
def test_8_bit_inputs_take_the_pixels_as_they_are(
    datatype: str, quantization: Quantization | None, expected: Array
) -> None:
    made = tensor((1, 8, 12, 3), datatype, quantization)

    assert (made[0] == expected).all()


@pytest.mark.parametrize(
    ("datatype", "quantization", "mean", "std"),
    [
        ("UINT8", Quantization(1 / 255, 0), (0.0,), (255.0,)),
        ("UINT8", Quantization(1 / 128, 128), (128.0,), (128.0,)),
        ("UINT8", Quantization(0.0187, 114), MEAN, STD),
        ("INT8", Quantization(0.0187, -14), MEAN, STD),
    ],
)
def test_a_quantised_input_with_mean_and_std_gets_the_codes_of_its_own_scale(
    datatype: str, quantization: Quantization, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    made = tensor((1, 8, 12, 3), datatype, quantization, mean=mean, std=std)

    real = (made[0].astype(float) - quantization.zero_point) * quantization.scale
    lowest, highest = (0, 255) if datatype == "UINT8" else (-128, 127)
    reach = (np.array([lowest, highest]) - quantization.zero_point) * quantization.scale
    assert real == pytest.approx(np.clip((RGB - mean) / std, *reach), abs=quantization.scale / 2 + 1e-9)


def test_the_letterbox_is_filled_with_the_pad_as_the_model_sees_it() -> None:
    intake = build_intake(
        InputSection(resize="letterbox", pad=50, mean=(50.0,), std=(2.0,)),
        (TensorSpec("x", "FP32", (1, 3, 12, 12)),),
        {},
    )

    (made,) = intake.prepare(encode(Image.new("RGB", (12, 6), (250, 250, 250)), "PNG")).arrays

    assert (made[0, :, 3:9] == 100).all()
    assert (made[0, :, :3] == 0).all() and (made[0, :, 9:] == 0).all()


def test_a_free_size_comes_from_the_manifest() -> None:
    made = tensor((-1, 3, -1, -1), "FP32", size=(8, 12))

    assert made.shape == (1, 3, 8, 12)


def test_the_manifest_decides_a_layout_that_the_signature_leaves_open() -> None:
    made = tensor((1, -1, -1, -1), "FP32", layout="NHWC", size=(8, 12))

    assert made.shape == (1, 8, 12, 3)


@pytest.mark.parametrize(
    ("specs", "section", "words"),
    [
        ((), {}, "one input"),
        ((TensorSpec("a", "FP32", (1, 3, 8, 8)), TensorSpec("b", "FP32", (1,))), {}, "'b' [1]"),
        ((TensorSpec("a", "FP32", (3, 8, 8)),), {}, "[3, 8, 8]"),
        ((TensorSpec("a", "FP32", (4, 3, 8, 8)),), {}, "[4, 3, 8, 8]"),
        ((TensorSpec("a", "INT64", (1, 3, 8, 8)),), {}, "INT64"),
        ((TensorSpec("a", "FP32", (1, 7, 8, 9)),), {}, "NCHW or NHWC"),
        ((TensorSpec("a", "FP32", (1, 3, 8, 3)),), {}, "layout"),
        ((TensorSpec("a", "FP32", (1, 3, 8, 9)),), {"layout": "NHWC"}, "NHWC"),
        ((TensorSpec("a", "FP32", (1, 3, -1, 9)),), {}, "size"),
    ],
)
def test_a_signature_that_takes_no_picture_is_refused_with_what_it_lacks(
    specs: tuple[TensorSpec, ...], section: dict[str, Any], words: str
) -> None:
    with pytest.raises(Invalid) as caught:
        build_intake(InputSection(**section), specs, {})

    assert caught.value.code == "signature_unusable"
    assert words in caught.value.message


def test_a_size_that_is_not_the_models_is_the_manifests_fault() -> None:
    with pytest.raises(Invalid) as caught:
        tensor((1, 3, 8, 12), "FP32", size=(224, 224))

    assert caught.value.code == "manifest_wrong"
