"""The command line, with a failure in the second process alone, before the processes meet."""

from __future__ import annotations

import gancore_training
import torch

from gancore import GancoreError, engine
from gancore.cli import main
from gancore.parallel import distributed
from tests.hosts import installed, registry

choose = engine.choose_device


def _chosen(name: str) -> torch.device:
    if distributed.planned_rank() == 1:
        raise GancoreError("process 1 has no GPU of its own.")
    return choose(name)


if __name__ == "__main__":
    engine.choose_device = _chosen
    with installed(registry(training=gancore_training)):
        main.main()
