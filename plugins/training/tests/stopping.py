"""The command line, stopped as Ctrl-C stops it, after so many iterations.

``python -m plugins.training.tests.stopping ITERATION train ...``
"""

from __future__ import annotations

import os
import signal
import sys

import gancore_training

from gancore.cli.main import main as command_line
from gancore.engine.run import Run
from tests.hosts import installed, registry


def main() -> None:
    """Run the command line that follows the iteration."""
    until, sys.argv = int(sys.argv[1]), ["gancore", *sys.argv[2:]]
    step = Run.step

    def stepped(run: Run) -> None:
        step(run)
        # In one process of several: the others must learn of it.
        if run.iteration == until and run.rank == 0:
            os.kill(os.getpid(), signal.SIGINT)

    Run.step = stepped  # type: ignore[method-assign]
    with installed(registry(training=gancore_training)):
        command_line()


if __name__ == "__main__":
    main()
