"""Where a server is, as its URL says."""

from __future__ import annotations

import pytest

from littoral.core.errors import Invalid
from littoral.serve.client.address import read_address


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("edge-7:8000", "http://edge-7:8000"),
        ("edge-7", "http://edge-7:8000"),
        ("http://edge-7/", "http://edge-7:8000"),
        ("https://edge-7/behind/a/proxy/", "https://edge-7:8000/behind/a/proxy"),
        ("grpc://edge-7", "grpc://edge-7:8001"),
        ("grpcs://[::1]:9", "grpcs://[::1]:9"),
    ],
)
def test_what_a_url_leaves_out_is_filled_in(url: str, whole: str) -> None:
    assert read_address(url).url == whole


@pytest.mark.parametrize(
    "url",
    ["", "ftp://edge-7", "http://", "http://edge-7:port", "http://edge-7:99999", "http://u:p@edge-7", "http://e?x=1"],
)
def test_what_is_no_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_address(url)

    assert refused.value.code == "url_unusable"
    assert "http://HOST:PORT" in refused.value.message
