"""What `littoral check` finds out about a machine, and what it tells people to do."""

from __future__ import annotations

import socket

from littoral.cli.findings import find_all, port_finding, sqlite_finding


def test_a_sqlite_from_before_the_mend_is_a_warning_that_says_what_to_do() -> None:
    old, new = sqlite_finding((3, 40, 1)), sqlite_finding((3, 51, 3))

    assert (old.state, old.found) == ("warn", "3.40.1")
    assert "no other program" in old.todo
    assert (new.state, new.todo) == ("ok", "")


def test_a_taken_port_is_a_warning_and_a_free_one_is_not() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        while_taken = port_finding(port, "HTTP")

    assert while_taken.state == "warn"
    assert "--http-port 0" in while_taken.todo
    assert port_finding(port, "HTTP").state == "ok"


def test_what_is_not_ok_always_says_what_to_do() -> None:
    findings = list(find_all())

    assert {"python", "onnxruntime", "providers", "cores", "memory", "temperature", "sqlite"} <= {
        f.item for f in findings
    }
    assert [f.item for f in findings if f.state != "ok" and not f.todo] == []
