"""Certificates of doors: a new one is taken as it comes, and a bad one disturbs nobody."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

import pytest

from littoral.core.errors import Invalid
from littoral.serve.tls import TlsFiles, keep_fresh, peer_id, welcome


class Source:
    """Certificates that change as a list says: nothing new, a bad one, a good one."""

    names_clients = False

    def __init__(self) -> None:
        self.looked = 0
        self.done = asyncio.Event()

    def context(self) -> ssl.SSLContext:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def refresh(self) -> bool:
        self.looked += 1
        if self.looked == 2:
            raise Invalid("tls_files_wrong", "door.pem cannot be used.")
        if self.looked == 4:
            self.done.set()
        return self.looked == 3


class Plain:
    """A connection without TLS."""

    def get_extra_info(self, name: str) -> object:
        return None


def test_a_bad_certificate_is_told_and_the_next_good_one_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    # given a source that has a bad certificate first, then a good one
    async def watch() -> Source:
        source = Source()
        watching = asyncio.create_task(keep_fresh(source, every_s=0.0))
        await asyncio.wait_for(source.done.wait(), 10)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return source

    # when the doors are kept fresh
    with caplog.at_level(logging.INFO, logger="littoral.serve.tls"):
        source = asyncio.run(watch())

    # then both are told, and it goes on looking
    told = [record.getMessage() for record in caplog.records]
    assert [each.split(".")[0] for each in told] == [
        "The doors keep the certificate they have",
        "The doors show a new certificate",
    ]
    assert source.looked >= 4


def test_a_connection_without_tls_has_no_id_and_is_not_among_those_named() -> None:
    assert peer_id(Plain()) is None
    assert welcome(Plain(), None)
    assert not welcome(Plain(), frozenset(["spiffe://factory.example/site/a"]))


def test_files_that_vanish_are_an_error_once_and_not_each_time(tmp_path: Path) -> None:
    tls = TlsFiles(tmp_path / "door.pem")
    (tmp_path / "door.pem").write_text("not a certificate")
    with pytest.raises(Invalid) as caught:
        tls.refresh()
    assert caught.value.code == "tls_files_wrong"
    assert not tls.refresh()
