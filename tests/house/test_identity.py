"""Who may load what secrets are made with: one room for keys and certificates, and no log there."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from house.structure import Module, modules

ROOMS_OF = {"cryptography": {"identity"}, "argon2": {"identity"}}

MODULES = modules()


def _libraries(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_keys_and_passwords_are_made_in_their_rooms_alone() -> None:
    # given every module, wherever its imports stand
    found = [(module.name, library) for module in MODULES for library in _libraries(module) if library in ROOMS_OF]

    # when those of other rooms are looked for
    strangers = [(name, library) for name, library in found if name.split(".")[1] not in ROOMS_OF[library]]

    # then there is none, and argon2 is in one file
    assert strangers == []
    assert {name for name, library in found if library == "argon2"} == {"littoral.identity.passwords"}


def test_the_room_of_secrets_has_no_log_and_prints_nothing() -> None:
    for module in MODULES:
        if module.room == "identity":
            assert "logging" not in set(_libraries(module)), module.name
            calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
            assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
