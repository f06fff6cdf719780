"""Forms: a picture is found in them, and what is no form is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from littoral.core.errors import Invalid
from littoral.serve.multipart import read_form

KIND = "multipart/form-data; boundary=XyZ"


def form(*fields: tuple[str, bytes], preamble: bytes = b"") -> bytes:
    made = preamble
    for name, value in fields:
        made += b'--XyZ\r\nContent-Disposition: form-data; name="%b"; filename="a b.jpg"\r\n' % name.encode()
        made += b"Content-Type: image/jpeg\r\n\r\n" + value + b"\r\n"
    return made + b"--XyZ--\r\n"


@given(st.binary(max_size=300).filter(lambda value: b"--XyZ" not in value))
def test_a_field_keeps_every_byte(value: bytes) -> None:
    fields = read_form(KIND, form(("top_k", b"3"), ("image", value)))

    assert fields == {"top_k": b"3", "image": value}


@pytest.mark.parametrize(
    "kind",
    [
        'multipart/form-data; boundary="XyZ"',
        "multipart/form-data; charset=utf-8; boundary=XyZ",
        "Multipart/Form-Data;BOUNDARY=XyZ",
    ],
)
def test_a_boundary_may_be_written_in_every_way(kind: str) -> None:
    assert read_form(kind, form(("image", b"1"), preamble=b"ignored\r\n")) == {"image": b"1"}


def test_the_first_of_two_fields_of_one_name_counts() -> None:
    assert read_form(KIND, form(("image", b"1"), ("image", b"2"))) == {"image": b"1"}


def test_a_form_may_lie_in_any_buffer() -> None:
    assert read_form(KIND, memoryview(bytearray(form(("image", b"1"))))) == {"image": b"1"}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", form(("image", b"1"))),
        (KIND, b""),
        (KIND, b"no boundary here"),
        (KIND, b"--XyZ"),
        (KIND, b"--XyZ\r\n"),
        (KIND, b'--XyZ\r\nContent-Disposition: form-data; name="image"\r\n\r\nnever ends'),
        (KIND, b"--XyZ\r\nContent-Type: image/jpeg\r\n\r\n1\r\n--XyZ--\r\n"),
        (KIND, b"--XyZjunk\r\n\r\n1\r\n--XyZ--\r\n"),
        (KIND, b"--XyZ\r\nA: " + b"b" * 5000 + b"\r\n\r\n1\r\n--XyZ--\r\n"),
        (KIND, form(*[(f"f{index}", b"") for index in range(20)])),
    ],
)
def test_what_is_no_form_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        read_form(kind, body)

    assert caught.value.code == "form_malformed"


@given(st.binary(max_size=200))
def test_no_bytes_whatever_do_more_than_be_refused(body: bytes) -> None:
    try:
        read_form(KIND, b"--XyZ\r\n" + body)
    except Invalid as error:
        assert error.code == "form_malformed"
