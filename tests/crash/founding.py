"""Makes hubs, each killed one step on the disk later than the one before, and says what a second attempt makes of them.

    python founding.py FOLDER [elsewhere]

A step is a file or folder made, opened to be written, renamed or removed. Prints a line of JSON for each step, until a
hub gets through. `elsewhere`: the database lies outside the folder, as PostgreSQL's does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from littoral.core.clock import RealClock
from littoral.core.errors import LittoralError
from littoral.hub import accounts
from littoral.hub.database import Database
from littoral.hub.founding import ADMIN_TOKEN, AUTHORITY, CA_FILE, found
from littoral.hub.settings import FILE_NAME, HubFile, HubSettings, read_file
from littoral.hub.unfinished import NAME
from littoral.identity.authority import Authority
from littoral.identity.passwords import Cost, Passwords

NOW_S = RealClock().wall_s()
FIRST, SECOND = "first", "second"
PASSWORD = "correct horse battery"
CHEAP = Passwords(Cost(rounds=1, memory_kib=64, lanes=1))
KILLED = 9
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "sqlite3.connect")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def main(root: Path, *, elsewhere: bool) -> None:
    for step in count():
        folder = root / f"hub-{step}"
        database = f"sqlite:///{root / f'hub-{step}.db'}" if elsewhere else ""
        file = HubFile("plant.test", database=database)
        ended = in_a_process(lambda folder=folder, file=file, step=step: make(folder, file, step))  # type: ignore[misc]
        in_a_process(lambda folder=folder, file=file, step=step: judge(folder, file, step))  # type: ignore[misc]
        if ended != KILLED:
            return


def in_a_process(work: Callable[[], None]) -> int:
    """Runs it in a copy of this process, which has read all modules already; the exit status."""
    child = os.fork()
    if child == 0:
        work()
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def make(folder: Path, file: HubFile, steps: int) -> None:
    """The first attempt, which ends without a word before its next step after so many."""
    left = steps

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if is_change(event, arguments, str(folder.parent)):
            left -= 1
            if left < 0:
                os._exit(KILLED)

    sys.addaudithook(watch)
    found(folder, file, admin=FIRST, password=PASSWORD, passwords=CHEAP)


def is_change(event: str, arguments: tuple[Any, ...], root: str) -> bool:
    if event == "open":
        return str(arguments[0]).startswith(root) and bool(arguments[2] & _WRITING)
    return event in _CHANGES and root in str(arguments[0])


def judge(folder: Path, file: HubFile, step: int) -> None:
    """A second attempt, and what there is then."""
    was_whole = (folder / FILE_NAME).exists()
    refused = ""
    try:
        found(folder, file, admin=SECOND, password=PASSWORD, passwords=CHEAP)
    except LittoralError as error:
        refused = error.code
    authority = Authority.open(folder / AUTHORITY)
    database = Database.open(HubSettings(folder, read_file(folder)).database)
    users = database.read_now(accounts.users)
    token = (folder / ADMIN_TOKEN).read_text().strip()
    bearer = database.read_now(lambda connection: accounts.named_by(connection, token, NOW_S + 60))
    database.close()
    told = {
        "step": step,
        "was_whole": was_whole,
        "refused": refused,
        "admins": [user.name for user in users],
        "bearer": bearer.principal.name,
        "trusted": (folder / CA_FILE).read_text() == authority.bundle(NOW_S),
        "left_over": (folder / NAME).exists(),
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), elsewhere=sys.argv[2:] == ["elsewhere"])
