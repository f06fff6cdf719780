"""What is packed for a link comes back, within the codec's error, or is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from littoral.core.errors import Corrupt, Invalid, LittoralError
from littoral.net.codec import CODECS, pack, unpack

FLOATS = arrays(
    np.float32,
    array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=6),
    elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False),
)


def _activation(seed: int = 1) -> np.ndarray:
    """Like what leaves a ReLU: half zeros, each channel of another size."""
    rng = np.random.default_rng(seed)
    channels = rng.uniform(0.1, 20, (1, 32, 1, 1)).astype(np.float32)
    return np.maximum(rng.normal(0, 1, (1, 32, 28, 28)).astype(np.float32), 0) * channels


@given(FLOATS, st.sampled_from(["raw", "raw+zstd"]))
def test_what_is_sent_raw_comes_back_bit_for_bit(array: np.ndarray, codec: str) -> None:
    back = unpack(pack(array, codec))
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()


@given(FLOATS, st.sampled_from([("int8", 8), ("int8+zstd", 8), ("int4", 4), ("int4+zstd", 4)]))
def test_a_quantized_value_is_at_most_half_a_step_of_its_channel_away(
    array: np.ndarray, codec: tuple[str, int]
) -> None:
    # given any float tensor
    name, bits = codec
    axis = 1 if array.ndim in (3, 4) else array.ndim - 1
    others = tuple(index for index in range(array.ndim) if index != axis)
    span = array.max(axis=others, keepdims=True) - array.min(axis=others, keepdims=True)

    # when it crosses
    back = unpack(pack(array, name))

    # then each value moved by at most half a step (and float32's own rounding)
    assert back.shape == array.shape
    assert (np.abs(back - array) <= span / (2**bits - 1) * 0.5 + np.abs(array).max() * 1e-5 + 1e-6).all()


@pytest.mark.parametrize("array", [np.arange(12, dtype=np.int64).reshape(3, 4), np.array([True, False]), np.array(5)])
def test_tensors_that_are_no_floats_cross_raw_and_are_refused_by_lossy_codecs(array: np.ndarray) -> None:
    assert (unpack(pack(array, "raw+zstd")) == array).all()
    with pytest.raises(Invalid):
        pack(array, "int8")


def test_each_step_down_in_bits_makes_an_activation_smaller() -> None:
    sizes = [len(pack(_activation(), codec)) for codec in ("raw", "fp16", "int8", "int8+zstd", "int4+zstd")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[3] < sizes[0] / 4


@pytest.mark.parametrize("codec", CODECS)
def test_bytes_cut_short_or_turned_are_refused_or_decoded_to_the_same_shape_and_never_crash(codec: str) -> None:
    # given a packed tensor
    packed = pack(_activation()[:, :2, :4, :4], codec)
    rng = np.random.default_rng(0)

    # when it is cut, or one of its bytes is another
    broken = [packed[:end] for end in range(0, len(packed), 7)]
    for _ in range(300):
        turned = bytearray(packed)
        turned[rng.integers(len(turned))] ^= int(rng.integers(1, 256))
        broken.append(bytes(turned))

    # then every answer is an array or an error of ours
    for one in broken:
        try:
            unpack(one, unpacked_bytes_max=1 << 20)
        except LittoralError as error:
            assert isinstance(error, Corrupt)


def test_a_tensor_that_claims_to_be_huge_is_refused_before_anything_is_allocated() -> None:
    packed = bytearray(pack(np.zeros((1, 1), dtype=np.float32), "raw+zstd"))
    packed[6:14] = (0xFFFFFF00).to_bytes(4, "little") * 2
    with pytest.raises(Corrupt, match="over the limit"):
        unpack(bytes(packed))


def test_a_bomb_that_inflates_beyond_its_shape_is_refused() -> None:
    # given the head of a tiny tensor before the zstd bytes of a large one
    small = pack(np.zeros((1, 4), dtype=np.float32), "raw+zstd")
    large = pack(np.zeros((1, 4_000_000), dtype=np.float32), "raw+zstd")

    # when they are put together
    bomb = small[:14] + large[14:]

    # then the shape decides
    with pytest.raises(Corrupt, match="another length"):
        unpack(bomb)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_cannot_be_quantized_and_says_what_to_use(value: float) -> None:
    with pytest.raises(Invalid, match="Use raw or fp16"):
        pack(np.array([[1.0, value]], dtype=np.float32), "int8")


def test_an_unknown_codec_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Invalid, match=r"int4\+zstd"):
        pack(np.zeros(3, dtype=np.float32), "brotli")


def test_values_too_large_for_half_precision_are_refused_not_turned_into_infinity() -> None:
    with pytest.raises(Invalid, match="does not fit fp16"):
        pack(np.array([1.0, 1e6], dtype=np.float32), "fp16")


def test_a_channel_that_spans_more_than_float32_holds_is_refused_not_garbled() -> None:
    with pytest.raises(Invalid, match="spans more"):
        pack(np.array([[-3e38], [3e38]], dtype=np.float32), "int8")


def test_values_beyond_float32_are_refused_by_the_quantizing_codecs() -> None:
    with pytest.raises(Invalid, match="cannot be quantized"):
        pack(np.array([[1e300, 1.0]]), "int8")


@pytest.mark.parametrize("codec", ["int8", "int4"])
def test_a_channel_of_the_smallest_numbers_does_not_spoil_its_neighbour(codec: str) -> None:
    # given a channel whose step is rounded itself (subnormal numbers) beside an ordinary one
    tiny = np.array([0, 382, 382, 0, 22, 22], dtype=np.float32) * np.float32(1e-45)
    array = np.stack([tiny, np.linspace(0, 15, 6, dtype=np.float32)], axis=1)  # [6, 2]

    # when it crosses
    back = unpack(pack(array, codec))

    # then the ordinary one is within half a step
    assert np.abs(back[:, 1] - array[:, 1]).max() <= 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_channel_without_a_finite_range_is_refused(value: float) -> None:
    packed = bytearray(pack(np.ones((1, 2), dtype=np.float32), "int8"))
    packed[14:18] = np.float32(value).tobytes()
    with pytest.raises(Corrupt, match="finite range"):
        unpack(bytes(packed))


def test_finite_ranges_that_lead_beyond_float32_give_infinity_quietly() -> None:
    packed = bytearray(pack(np.array([[0.0, 5.0], [1.0, 7.0]], dtype=np.float32), "int8"))
    packed[18:22] = np.float32(3e38).tobytes()
    assert np.isinf(unpack(bytes(packed))).any()
