"""The command line where the plugins of core's tests are installed: ``python -m tests.command train ...``."""

from __future__ import annotations

from gancore.cli import main
from tests.hosts import installed, registry

if __name__ == "__main__":
    with installed(registry()):
        main.main()
