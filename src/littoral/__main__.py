"""`python -m littoral`: the same as the `littoral` command."""

from __future__ import annotations

from littoral.cli.main import main

if __name__ == "__main__":
    main()
