"""The command line where the plugins of core's tests are installed: ``python -m plugins.training.tests.command train ...``."""

from __future__ import annotations

import gancore_training

from gancore.cli import main
from tests.hosts import installed, registry

if __name__ == "__main__":
    with installed(registry(training=gancore_training)):
        main.main()
