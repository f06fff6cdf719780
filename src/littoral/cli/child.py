"""The `littoral` command as the child of a verb: it ends when that does, however that ends.

python -m littoral.cli.child PARENT_PID VERB ...
"""

from __future__ import annotations

import os
import sys

from littoral.cli.main import run
from littoral.runtime.beside import end_with


def child_line(*arguments: str) -> list[str]:
    """The command line that starts such a child of this process."""
    return [sys.executable, "-m", "littoral.cli.child", str(os.getpid()), *arguments]


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    sys.exit(run(sys.argv[2:]))
