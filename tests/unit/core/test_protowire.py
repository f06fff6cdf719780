"""Protobuf fields are found where they lie, and nothing else passes for a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.protowire import BYTES, fields, put_bytes, put_number, read_varint, texts, varint


@given(st.lists(st.tuples(st.integers(1, 100), st.one_of(st.integers(0, 2**63), st.binary(max_size=300)))))
def test_what_is_put_is_found_in_order(written: list[tuple[int, int | bytes]]) -> None:
    # given fields of both kinds
    message = b"".join(
        put_number(number, value) if isinstance(value, int) else put_bytes(number, value) for number, value in written
    )

    # when they are read
    found = []
    for number, kind, (start, end) in fields(message, (0, len(message))):
        raw = message[start:end]
        found.append((number, raw if kind == BYTES else read_varint(raw, 0, len(raw))[0]))

    # then they are what was written
    assert found == written


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_raise_value_error_and_never_run_on(content: bytes) -> None:
    try:
        for _, _, (start, end) in fields(content, (0, len(content))):
            assert 0 <= start <= end <= len(content)
    except ValueError:
        pass


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32, 2**63])
def test_a_number_comes_back(number: int) -> None:
    assert read_varint(varint(number), 0, 20) == (number, len(varint(number)))


def test_texts_of_one_field_are_picked_out() -> None:
    message = put_bytes(1, "a") + put_bytes(2, "no") + put_bytes(1, "ü")
    assert texts(message, (0, len(message)), 1) == ("a", "ü")
