"""Which of an upstream's addresses can be used from here."""

from __future__ import annotations

import logging
import ssl
import sys

import pytest

from littoral.core.errors import Unavailable
from littoral.serve.client.tls import ClientTls
from littoral.serve.upstream import Upstream


def test_without_grpcio_the_http_address_is_used_and_the_log_says_once_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # given an installation without the extra
    monkeypatch.setitem(sys.modules, "grpc", None)

    # when an upstream has addresses of both kinds
    with caplog.at_level(logging.INFO, "littoral"):
        upstream = Upstream("grpc://hub:8001,http://hub:8000")

    # then it is asked over HTTP, under the name that it was given
    assert upstream.url == "grpc://hub:8001"
    assert upstream.addresses == (("http://hub:8000", True),)
    assert not upstream.stands_in
    (line,) = caplog.records
    assert line.message.startswith("grpc://hub:8001 is left out.")
    assert "pip install 'littoral[grpc]'" in line.message


@pytest.mark.parametrize("text", ["grpc://hub:8001", "grpc://hub:8001,grpc://vpn:8001"])
def test_without_grpcio_and_another_address_it_is_an_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)

    with pytest.raises(Unavailable) as failed:
        Upstream(text)

    assert failed.value.code == "extra_missing"


def test_a_site_whose_certificate_grpc_cannot_use_is_asked_over_https(caplog: pytest.LogCaptureFixture) -> None:
    # given a site's own identity, which is a context and no files
    identity = ClientTls(context=ssl.create_default_context())

    # when its upstream has addresses of both kinds
    with caplog.at_level(logging.INFO, "littoral"):
        upstream = Upstream("grpcs://hub:8001,https://hub:8444", tls=identity)

    # then only one is of use, and the log says why
    assert upstream.addresses == (("https://hub:8444", True),)
    assert [line.message for line in caplog.records] == [
        "grpcs://hub:8001 is left out. grpc:// takes certificates as files, not as a context. Give files, or https://."
    ]
