"""The command line, with a failure in the second process alone, before the processes meet."""

from __future__ import annotations

import torch

from gancore import GancoreError
from gancore.cli import main
from gancore.engine import devices
from gancore.parallel import distributed

choose = devices.choose_device


def _chosen(name: str) -> torch.device:
    if distributed.planned_rank() == 1:
        raise GancoreError("process 1 has no GPU of its own.")
    return choose(name)


if __name__ == "__main__":
    devices.choose_device = _chosen
    main.main()
