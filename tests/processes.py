"""What several processes compute, for `test_processes`: each case's run, stepped, with the losses and state that came out.

WORLD_SIZE=2 RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 python -m tests.processes FOLDER      # and RANK=1
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gancore.engine.run import Run
from gancore.files.tensors import write_tensors
from gancore.parallel import collectives, distributed
from gancore.recipe.layers import merge
from tests.hosts import run_of

STEPS = 5

# Adam turns gradients that are 0 but for rounding into whole steps; plain descent keeps rounding as small as it is.
SGD: dict[str, Any] = {"use": "sgd", "lr": 0.005, "momentum": 0.9}

BASE: dict[str, Any] = {
    "run": {"iterations": 100, "batch_size": 12, "latent_dim": 8, "precision": "float32"},
    "data": {"use": "standard/digits", "flip": True, "crop_padding": 1},
    "networks": {
        "generator": {"use": "standard/sndcgan-generator", "width": 0.1},
        "discriminator": {"use": "standard/sndcgan-discriminator", "width": 0.1},
    },
    "heads": {"adversarial": {"use": "standard/linear"}},
    "losses": {"adversarial": {"use": "standard/relativistic"}},
    "optimizers": {"generator": SGD, "discriminator": SGD},
    "ema": {"decay": 0.9},
}

CLASSIFIER: dict[str, Any] = {"networks": {"classifier": {"use": "host/classifier"}}}
PLAIN_NETWORKS: dict[str, Any] = {"networks": {"discriminator": {"spectral_norm": False}}}
BATCH_NORM: dict[str, Any] = {
    "networks": {
        "generator": {"use": "standard/dcgan-generator"},
        "discriminator": {"use": "standard/dcgan-discriminator"},
    }
}
SUPERVISED: dict[str, Any] = {
    "run": BASE["run"],
    "data": BASE["data"],
    "samplers": {"tail": {"use": "standard/long-tail", "ratio": 10.0}},
    "networks": {"classifier": {"use": "standard/resnet20", "width": 0.25}},
    "losses": {"loss": {"use": "standard/cross-entropy", "drw_start": 2}},
    "loop": {"use": "standard/supervised"},
    "optimizers": {"classifier": SGD},
}

CASES: dict[str, dict[str, Any]] = {
    "plain": BASE,
    "class balance": merge(
        merge(BASE, CLASSIFIER),
        {
            "samplers": {"tail": {"use": "standard/long-tail", "ratio": 20.0}},
            "losses": {"balance": {"use": "cbgan/class-balance", "weight": 10.0, "cycle": 2}},
        },
    ),
    "free adversarial training": merge(
        BASE,
        {
            "attacks": {"free": {"use": "fastrobgan/free", "epsilon": 0.1, "norm": "l2"}},
            "loop": {"use": "fastrobgan/free-replay", "replays": 2},
        },
    ),
    "gradient penalty": merge(
        merge(BASE, PLAIN_NETWORKS),
        {
            "losses": {
                "adversarial": {"use": "standard/wasserstein"},
                "penalty": {"use": "standard/gradient-penalty", "weight": 10.0},
            }
        },
    ),
    "batch norm": merge(BASE, BATCH_NORM),
    "batch norm and gradient penalty": merge(
        merge(BASE, BATCH_NORM), {"losses": {"penalty": {"use": "standard/gradient-penalty", "weight": 10.0}}}
    ),
    "batch norm in a head": merge(merge(BASE, BATCH_NORM), {"heads": {"adversarial": {"use": "probe/normed"}}}),
    "attack of its own gradient": merge(
        BASE, {"attacks": {"pgd": {"use": "fastrobgan/pgd", "epsilon": 0.1, "steps": 2, "norm": "l2", "start": "uniform"}}}
    ),
    "relativistic average": merge(BASE, {"losses": {"adversarial": {"use": "standard/relativistic-average"}}}),
    "pairs of images and mean features": merge(
        merge(BASE, CLASSIFIER),
        {"losses": {"away": {"use": "dsgan/pull-away"}, "match": {"use": "dsgan/feature-matching"}}},
    ),
    "an expectation over two sides": merge(
        BASE,
        {
            "sources": {"avoid": {}},
            "samplers": {"wide": {"use": "dsgan/wide", "wide": "normal"}},
            "losses": {
                "adversarial": {"players": ["generator"]},
                "generated": {"use": "standard/non-saturating", "players": ["discriminator"], "weight": 0.6},
                "avoided": {
                    "use": "standard/non-saturating",
                    "players": ["discriminator"],
                    "weight": 0.4,
                    "reads": {"fake": "avoid"},
                },
            },
        },
    ),
    "classifier, re-weighted": SUPERVISED,
    "classifier, classes drawn equally often": merge(SUPERVISED, {"samplers": {"even": {"use": "standard/class-balanced"}}}),
}


def outcome(run: Run) -> dict[str, Tensor]:
    """Step a run; return its state and, averaged over the processes, the losses of each iteration."""
    losses: dict[str, list[Tensor]] = {}
    for _ in range(STEPS):
        run.step()
        for name, value in run.losses.items():
            losses.setdefault(name, []).append(collectives.global_mean(value))
    return {**run.tensors(), **{f"losses/{name}": torch.stack(values) for name, values in losses.items()}}


def main(folder: Path) -> None:
    """Write the outcome of every case."""
    torch.set_num_threads(1)
    distributed.start(torch.device("cpu"))
    for name, table in CASES.items():
        found = outcome(run_of(base=table))
        if distributed.rank() == 0:
            write_tensors(folder / f"{name}.safetensors", found, {})
    distributed.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
