"""What several processes compute with the plugins of this repository, for `test_distributed`.

WORLD_SIZE=2 RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 python -m tests.compose.processes FOLDER      # and RANK=1
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gancore.recipe.layers import merge
from tests.compose.hosts import run_of
from tests.processes import SGD, write_outcomes

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


if __name__ == "__main__":
    write_outcomes(Path(sys.argv[1]), CASES, run_of)
