"""Tensors as JSON arrays and back: strict about every element, and quick on arrays of a hundred thousand.

Reading goes text > list > packed bytes > array. `struct` packs a list into float32 in less than half the time NumPy
takes, and it refuses what does not fit instead of wrapping it. Writing is orjson's: it knows NumPy's arrays and gives a
float32 its shortest digits, half the bytes of the same number as a double.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from littoral.core.errors import Invalid
from littoral.core.tensor import Array, Tensor, bytes_array, dtype_of, element_count
from littoral.net.frame import RANK_MAX, Buffer, check_shape

NO_JSON: Final = frozenset({"FP16", "BF16"})
"""Datatypes that the protocol carries in binary only."""

_FORMATS: Final = {
    "BOOL": "?",
    "INT8": "b",
    "UINT8": "B",
    "INT16": "h",
    "UINT16": "H",
    "INT32": "i",
    "UINT32": "I",
    "INT64": "q",
    "UINT64": "Q",
    "FP32": "f",
    "FP64": "d",
}
_FLOATS: Final = msgspec.json.Decoder(list[float])
_INTEGERS: Final = msgspec.json.Decoder(list[int])
_LISTS: Final = msgspec.json.Decoder(list[Any])
_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "BOOL": msgspec.json.Decoder(list[bool]),
    "FP32": _FLOATS,
    "FP64": _FLOATS,
}
_NESTING: Final = b"[] \t\r\n"


def tensor_from_json(name: str, datatype: str, shape: tuple[int, ...], raw: Buffer, *, base64: bool = False) -> Tensor:
    """The tensor in the JSON array `raw`, flat or nested; `base64`: its BYTES elements are base64 text.

    Raises `Invalid`: `datatype_unknown`, `shape_wrong`, `json_malformed`, `element_wrong`, `element_count_wrong`,
    `binary_only`.
    """
    dtype_of(datatype)
    sizes = check_shape(name, shape)
    if datatype in NO_JSON:
        raise Invalid("binary_only", f"Input {name!r}: {datatype} cannot be sent as JSON. Send it as binary data.")
    if raw[:1] != b"[":
        raise Invalid("element_wrong", f"Input {name!r}: `data` must be a list.")
    what = f"Input {name!r}, `data`"
    if datatype == "BYTES":
        return Tensor(name, datatype, _texts(name, sizes, _flat_texts(raw, what), base64=base64))
    # Without its brackets a nested list of numbers is a flat one, and that parses in half the time.
    flat = bytes(raw).translate(None, _NESTING)
    elements: list[Any] = []
    if flat.strip(b","):
        elements = decode_json(_DECODERS.get(datatype, _INTEGERS), b"[%b]" % flat, what)
    return tensor_from_list(name, datatype, sizes, elements)


def tensor_from_list(name: str, datatype: str, shape: tuple[int, ...], elements: list[Any]) -> Tensor:
    """A numeric tensor from Python numbers of the right kind: `float` for FP32 and FP64, else `int` or `bool`."""
    _check_count(name, shape, len(elements))
    try:
        packed = _packer(datatype, len(elements))(*elements)
    except (struct.error, OverflowError):
        index = next(index for index, element in enumerate(elements) if not _fits(datatype, element))
        raise Invalid(
            "element_wrong", f"Input {name!r}: element {index} is {elements[index]!r}, which {datatype} cannot hold."
        ) from None
    return Tensor(name, datatype, np.ndarray(shape, dtype_of(datatype), packed))


def json_from_tensor(tensor: Tensor) -> bytes:
    """The elements as a flat JSON array; `Invalid` (`output_not_json`) where JSON has no words for them."""
    datatype, array = tensor.datatype, tensor.array
    if datatype in NO_JSON:
        raise _not_json(tensor, f"is {datatype}")
    if datatype == "BYTES":
        try:
            return orjson.dumps([element.decode() for element in array.ravel()])
        except UnicodeDecodeError:
            raise _not_json(tensor, "holds bytes that are not UTF-8 text") from None
    text = orjson.dumps(np.ascontiguousarray(array).reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in text:
        raise _not_json(tensor, "holds NaN or infinity")
    return text


def decode_json(decoder: msgspec.json.Decoder[Any], raw: Buffer, what: str, *, code: str = "element_wrong") -> Any:
    """`raw` decoded; what is wrong with it, and where, as `Invalid`: `json_malformed`, or `code` for a wrong type."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise Invalid(code, f"{what}: {error}.") from None
    except msgspec.DecodeError as error:
        raise Invalid("json_malformed", f"{what}: {error}.") from None
    except UnicodeDecodeError as error:
        raise Invalid("json_malformed", f"{what}: not UTF-8 text (byte {error.start}).") from None
    except RecursionError:
        raise Invalid("json_malformed", f"{what}: nested too deep.") from None


def _flat_texts(raw: Buffer, what: str) -> list[str]:
    """The strings of a list, however deep; only strings and lists may be in it."""
    elements: list[Any] = decode_json(_LISTS, raw, what)
    for _ in range(RANK_MAX):
        if not any(type(one) is list for one in elements):
            break
        elements = list(chain.from_iterable(one if type(one) is list else (one,) for one in elements))
    for one in elements:
        if type(one) is not str:
            raise Invalid("element_wrong", f"{what}: a BYTES element must be a string, not {type(one).__name__}.")
    return elements


@lru_cache(maxsize=128)
def _packer(datatype: str, count: int) -> Callable[..., bytes]:
    return struct.Struct(f"<{count}{_FORMATS[datatype]}").pack


def _fits(datatype: str, element: Any) -> bool:
    try:
        struct.pack(f"<{_FORMATS[datatype]}", element)
    except (struct.error, OverflowError):
        return False
    return True


def _texts(name: str, shape: tuple[int, ...], elements: list[str], *, base64: bool) -> Array:
    """BYTES elements from text: as UTF-8, or decoded from base64."""
    _check_count(name, shape, len(elements))
    if not base64:
        return bytes_array(elements).reshape(shape)
    try:
        return bytes_array([binascii.a2b_base64(text, strict_mode=True) for text in elements]).reshape(shape)
    except ValueError:
        raise Invalid("element_wrong", f"Input {name!r}: an element is not base64 text.") from None


def _check_count(name: str, shape: tuple[int, ...], count: int) -> None:
    if count != element_count(shape):
        raise Invalid(
            "element_count_wrong",
            f"Input {name!r}: shape {list(shape)} takes {element_count(shape)} elements; {count} came.",
            came=count,
        )


def _not_json(tensor: Tensor, reason: str) -> Invalid:
    return Invalid(
        "output_not_json",
        f"Output {tensor.name!r} {reason}, which JSON cannot carry. Ask for it in binary: "
        '"parameters": {"binary_data_output": true}.',
        output=tensor.name,
    )
