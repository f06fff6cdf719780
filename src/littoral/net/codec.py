"""Activations packed for a link: half precision, eight or four bits per channel, each with or without zstd.

A packed tensor is a fixed head, the sizes of its axes, the channels' ranges where it is quantized, and the elements:

    2 bytes  magic        1 byte  codec       1 byte  datatype      1 byte  rank       1 byte  channel axis
    4 bytes  per axis     8 bytes per channel (lowest value, step; little-endian float32)    the rest: elements

Quantization is per channel and asymmetric: value = lowest + step * code. Elements are packed as they lie in memory; for
zstd, which finds more in sparse activations after quantization, the bound on the unpacked size is known beforehand.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass

import numpy as np

from littoral.core.errors import Corrupt, Invalid
from littoral.core.tensor import Array, datatype_of, dtype_of, element_count

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_HEAD = struct.Struct("<2sBBBB")
_MAGIC = b"Lt"
_ZSTD_LEVEL = 1
_DATATYPES = ("FP32", "FP16", "FP64", "UINT8", "INT8", "INT32", "INT64", "BOOL", "UINT16", "INT16", "UINT32", "UINT64")
_QUANTIZED = {"int8": 8, "int4": 4}
_FP16_MAX = 65504.0
_FLOATS = ("FP32", "FP16", "FP64")
UNPACKED_BYTES_MAX = 256 * 2**20

# The order is part of the wire: a codec's number is its place.
CODECS: tuple[str, ...] = ("raw", "raw+zstd", "fp16", "fp16+zstd", "int8", "int8+zstd", "int4", "int4+zstd")


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the head says."""

    scheme: str
    compressed: bool
    datatype: str
    shape: tuple[int, ...]
    axis: int

    @property
    def channels(self) -> int:
        return self.shape[self.axis] if self.scheme in _QUANTIZED and self.shape else 0

    @property
    def element_bytes(self) -> int:
        """How long the elements are when they are not compressed."""
        count = element_count(self.shape)
        if self.scheme == "fp16":
            return 2 * count
        if self.scheme in _QUANTIZED:
            return (count * _QUANTIZED[self.scheme] + 7) // 8
        return count * dtype_of(self.datatype).itemsize


def pack(array: Array, codec: str) -> bytes:
    """An array as bytes by one of `CODECS`; `Invalid` (`codec_unknown`, `codec_unfit`).

    The lossy codecs are for floats; a value that is not finite cannot be quantized (`codec_unfit`): send it raw.
    """
    if codec not in CODECS:
        raise Invalid("codec_unknown", f"Codec {codec[:40]!r} is not known. Use one of: {', '.join(CODECS)}.")
    scheme, _, packed = codec.partition("+")
    datatype = datatype_of(array.dtype)
    if datatype not in _DATATYPES or (scheme != "raw" and datatype not in _FLOATS):
        raise Invalid("codec_unfit", f"Codec {codec} does not fit {datatype}. Use raw or raw+zstd.")
    axis = _channel_axis(array.shape)
    ranges = b""
    if scheme in _QUANTIZED:
        ranges, elements = _quantize(array, axis, _QUANTIZED[scheme])
    elif scheme == "fp16":
        elements = _halve(array).tobytes()
    else:
        elements = np.ascontiguousarray(array).tobytes()
    if packed:
        elements = zstd.compress(elements, level=_ZSTD_LEVEL)
    head = _HEAD.pack(_MAGIC, CODECS.index(codec), _DATATYPES.index(datatype), array.ndim, axis)
    return b"".join((head, struct.pack(f"<{array.ndim}I", *array.shape), ranges, elements))


def unpack(packed: bytes | memoryview, *, unpacked_bytes_max: int = UNPACKED_BYTES_MAX) -> Array:
    """The array again, in its first datatype. `Corrupt` (`frame_wrong`) for bytes that no `pack` made.

    Nothing is allocated before the declared sizes are checked against `unpacked_bytes_max` and the length at hand.
    """
    view = memoryview(packed)
    layout, offset = _read_layout(view)
    if element_count(layout.shape) * dtype_of(layout.datatype).itemsize > unpacked_bytes_max:
        raise Corrupt("frame_wrong", f"A packed tensor of shape {list(layout.shape)} is over the limit.")
    ranges_end = offset + 8 * layout.channels
    if len(view) < ranges_end:
        raise Corrupt("frame_wrong", "A packed tensor ends before its channels do.")
    ranges = np.frombuffer(view[offset:ranges_end], dtype="<f4").reshape(-1, 2)  # [channels, lowest and step]
    if not np.isfinite(ranges).all():
        raise Corrupt("frame_wrong", "A packed tensor has a channel without a finite range.")
    elements = _inflate(view[ranges_end:], layout) if layout.compressed else view[ranges_end:]
    if len(elements) != layout.element_bytes:
        raise Corrupt(
            "frame_wrong", f"A packed tensor has {len(elements)} bytes of elements, not {layout.element_bytes}."
        )
    dtype = dtype_of(layout.datatype)
    if layout.scheme in _QUANTIZED:
        with np.errstate(over="ignore"):
            return _dequantize(elements, ranges, layout).astype(dtype, copy=False)
    if layout.scheme == "fp16":
        return np.frombuffer(elements, dtype="<f2").reshape(layout.shape).astype(dtype)
    return np.frombuffer(elements, dtype=dtype).reshape(layout.shape)


def _channel_axis(shape: tuple[int, ...]) -> int:
    """Channels lie on axis 1 of a picture-like tensor [n, c, h, w] or [n, c, l], else on the last one."""
    return 1 if len(shape) in (3, 4) else max(len(shape) - 1, 0)


def _halve(array: Array) -> Array:
    if array.size and float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) > _FP16_MAX:
        raise Invalid("codec_unfit", f"A tensor with values beyond {_FP16_MAX:g} does not fit fp16. Use raw or int8.")
    return array.astype("<f2")


def _quantize(array: Array, axis: int, bits: int) -> tuple[bytes, bytes]:
    """Each channel's (lowest, step), and the codes."""
    with np.errstate(over="ignore"):
        values = array.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise Invalid("codec_unfit", "A tensor with NaN or infinity cannot be quantized. Use raw or fp16.")
    if values.ndim == 0 or values.size == 0:
        raise Invalid("codec_unfit", "A scalar or empty tensor cannot be quantized. Use raw.")
    others = tuple(index for index in range(values.ndim) if index != axis)
    lowest = values.min(axis=others)
    with np.errstate(over="ignore"):
        steps = (values.max(axis=others) - lowest) / np.float32(2**bits - 1)
    if not np.isfinite(steps).all():
        raise Invalid("codec_unfit", "A channel spans more than float32 holds and cannot be quantized. Use raw.")
    steps = np.where(steps > 0, steps, np.float32(1.0)).astype(np.float32)
    wide = [1] * values.ndim
    wide[axis] = -1
    scaled = (values - lowest.reshape(wide)) / steps.reshape(wide)
    # A step so small that it was rounded itself may lead one code too far, into its neighbour's bits.
    codes = np.minimum(np.rint(scaled, out=scaled), np.float32(2**bits - 1), out=scaled).astype(np.uint8)
    ranges = np.stack([lowest, steps], axis=1).astype("<f4").tobytes()
    flat = codes.ravel()
    if bits == 4:
        if flat.size % 2:
            flat = np.append(flat, np.uint8(0))
        flat = flat[0::2] | (flat[1::2] << 4)
    return ranges, flat.tobytes()


def _dequantize(elements: bytes | memoryview, ranges: Array, layout: _Layout) -> Array:
    codes = np.frombuffer(elements, dtype=np.uint8)
    count = element_count(layout.shape)
    if layout.scheme == "int4":
        pairs = np.empty(2 * codes.size, dtype=np.uint8)
        pairs[0::2], pairs[1::2] = codes & 0x0F, codes >> 4
        codes = pairs[:count]
    wide = [1] * len(layout.shape)
    wide[layout.axis] = -1
    values = codes.reshape(layout.shape).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # ranges that no `pack` made may lead beyond float32
        values *= ranges[:, 1].reshape(wide)
        values += ranges[:, 0].reshape(wide)
    return values


def _read_layout(view: memoryview) -> tuple[_Layout, int]:
    """The head and where the sizes end."""
    if len(view) < _HEAD.size:
        raise Corrupt("frame_wrong", "A packed tensor is shorter than its head.")
    magic, codec, datatype, rank, axis = _HEAD.unpack_from(view)
    end = _HEAD.size + 4 * rank
    known = magic == _MAGIC and codec < len(CODECS) and datatype < len(_DATATYPES)
    if not known or rank > 16 or axis >= max(rank, 1) or len(view) < end:
        raise Corrupt("frame_wrong", "These bytes are not a packed tensor of a version that this site knows.")
    scheme, _, packed = CODECS[codec].partition("+")
    name = _DATATYPES[datatype]
    if (scheme != "raw" and name not in _FLOATS) or (scheme in _QUANTIZED and rank == 0):
        raise Corrupt("frame_wrong", f"A packed tensor claims codec {CODECS[codec]} for {name} of rank {rank}.")
    shape = struct.unpack_from(f"<{rank}I", view, _HEAD.size)
    return _Layout(scheme, bool(packed), name, shape, axis), end


def _inflate(view: memoryview, layout: _Layout) -> bytes:
    """The elements, never more of them than the shape allows, however far the bytes would inflate."""
    try:
        unpacker = zstd.ZstdDecompressor()
        elements = unpacker.decompress(bytes(view), max_length=layout.element_bytes + 1)
    except zstd.ZstdError as error:
        raise Corrupt("frame_wrong", f"A packed tensor does not unpack: {error}.") from error
    if not unpacker.eof:
        raise Corrupt("frame_wrong", "A packed tensor unpacks to another length than its shape says.")
    return elements
