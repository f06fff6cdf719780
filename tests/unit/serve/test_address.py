"""An upstream's addresses as they are written."""

from __future__ import annotations

import pytest

from littoral.core.errors import Invalid
from littoral.serve.client.address import read_upstream


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("hub:9000", ["http://hub:9000"]),
        ("grpc://hub", ["grpc://hub:8001"]),
        ("grpc://hub:8001,http://hub:8000", ["grpc://hub:8001", "http://hub:8000"]),
        (" grpcs://hub , https://hub:8444/up ", ["grpcs://hub:8001", "https://hub:8444/up"]),
        ("http://10.0.0.2,http://[fd00::2]:80", ["http://10.0.0.2:8000", "http://[fd00::2]:80"]),
    ],
)
def test_one_address_or_several_of_one_server_in_order(text: str, urls: list[str]) -> None:
    assert [address.url for address in read_upstream(text)] == urls


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a server's address"),
        (",", "an empty address"),
        ("grpc://hub:8001,", "an empty address"),
        (",http://hub", "an empty address"),
        ("grpc://hub,,http://hub", "an empty address"),
        ("grpc://hub,hub:8000", "'hub:8000'"),
        ("http://hub/a,b", "'b'"),
        ("grpc://hub http://hub,http://vpn", "how and where"),
        ("grpc://hub:8001,grpc://hub", "twice"),
        ("http://HUB,http://hub", "twice"),
        ("grpc://hub,ftp://hub", "not a server's address"),
        ("grpc://hub,http://me:secret@hub", "not a server's address"),
        ("grpc://hub,http://hub:99999", "not a server's address"),
        ("http://a,http://b,http://c,http://d,http://e", "more than 4"),
    ],
)
def test_a_list_that_is_none_is_refused_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_upstream(text)

    assert refused.value.code == "url_unusable"
    assert says in refused.value.message
    assert "Write" in refused.value.message


@pytest.mark.parametrize(
    "text",
    ["grpcs://hub,http://hub", "https://hub,grpc://hub", "http://hub,https://hub", "grpcs://a,grpcs://b,grpc://b"],
)
def test_a_list_that_would_fall_back_from_tls_to_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="from TLS to none") as refused:
        read_upstream(text)

    assert refused.value.code == "url_unusable"
