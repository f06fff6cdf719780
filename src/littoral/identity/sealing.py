"""Sealing what lies on a disk: AES-256-GCM, a record at a time, bound to where the record stands.

The master key is a private file of 32 random bytes. It seals nothing itself: each opening draws 16 random bytes and
derives a key of its own from it (HKDF-SHA256, RFC 5869), and draws another after 2^28 records. Under such a key each
record gets a random nonce of 96 bits, so that two are alike with a chance below 2^-40 (NIST SP 800-38D allows 2^-32).
Nothing is counted or remembered, so no crash, fork or restored snapshot can bring a nonce back.

A sealed record is the format's number (1 byte), those 16 bytes, the nonce (12), what was sealed, and the tag (16).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from littoral.core.errors import Corrupt
from littoral.identity.private_files import make_folder, read_private, write_private

OVERHEAD_BYTES = 45
_FORMAT = b"\x01"
_KEY_BYTES = 32
_SALT_BYTES = 16
_NONCE_BYTES = 12
_HEAD_BYTES = 1 + _SALT_BYTES + _NONCE_BYTES
_RECORDS_MAX = 1 << 28
_KEYS_MAX = 64


class Sealing:
    """Authenticated encryption for one purpose, under one master key; any thread may use it."""

    def __init__(self, master: bytes, *, purpose: str, records_max: int = _RECORDS_MAX) -> None:
        assert len(master) == _KEY_BYTES, "a master key has 256 bits"
        self._master = master
        self._purpose = purpose
        self._records_max = records_max
        self._keys: OrderedDict[bytes, AESGCM] = OrderedDict()
        self._salt = b""
        self._sealed = records_max  # so that the first record draws a key

    @classmethod
    def of_folder(cls, folder: Path, *, purpose: str) -> Sealing:
        """With the folder's master key; a fresh one is made where there is none.

        `Corrupt` (`key_wrong`) where the file is none, and `Denied` (`key_exposed`) where others may read it.
        """
        path = folder / "sealing.key"
        make_folder(folder)
        if not path.exists():
            write_private(path, os.urandom(_KEY_BYTES))
        master = read_private(path)
        if len(master) != _KEY_BYTES:
            raise Corrupt("key_wrong", f"{path} does not hold a sealing key. Put a copy back.", path=str(path))
        return cls(master, purpose=purpose)

    def seal(self, content: bytes, context: bytes) -> bytes:
        """`content` sealed, `OVERHEAD_BYTES` longer; opens only with the same context."""
        if self._sealed >= self._records_max:
            self._salt, self._sealed = os.urandom(_SALT_BYTES), 0
        self._sealed += 1  # two threads may count one between them: the bound has room for that
        salt, nonce = self._salt, os.urandom(_NONCE_BYTES)
        return _FORMAT + salt + nonce + self._key(salt).encrypt(nonce, content, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed; `Corrupt` (`seal_broken`) where the key, the context or a bit is another."""
        if len(sealed) >= OVERHEAD_BYTES and sealed[:1] == _FORMAT:
            salt, nonce = sealed[1 : 1 + _SALT_BYTES], sealed[1 + _SALT_BYTES : _HEAD_BYTES]
            try:
                return self._key(salt).decrypt(nonce, sealed[_HEAD_BYTES:], context)
            except InvalidTag:
                pass
        raise Corrupt("seal_broken", "A sealed record cannot be opened: its key, its place or its bytes changed.")

    def __repr__(self) -> str:
        return f"Sealing(purpose={self._purpose!r})"

    def _key(self, salt: bytes) -> AESGCM:
        key = self._keys.get(salt)
        if key is None:
            info = b"littoral sealing 1 " + self._purpose.encode()
            key = AESGCM(HKDF(hashes.SHA256(), _KEY_BYTES, salt, info).derive(self._master))
            self._keys[salt] = key
            while len(self._keys) > _KEYS_MAX:
                try:
                    self._keys.popitem(last=False)
                except KeyError:  # another thread took the last one
                    break
        return key
