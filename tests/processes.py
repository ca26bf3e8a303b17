"""What several processes compute, for `test_distributed`: each case's run, stepped, with the losses and state that came out.

WORLD_SIZE=2 RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 python -m tests.processes FOLDER      # and RANK=1
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gancore.engine.run import Run
from gancore.files.tensors import write_tensors
from gancore.parallel import collectives, distributed
from gancore.recipe.layers import merge
from tests.hosts import BALANCE, FREE, run_of, state_of

STEPS = 5

# Adam turns gradients that are 0 but for rounding into whole steps; plain descent keeps rounding as small as it is.
SGD: dict[str, Any] = {"use": "sgd", "lr": 0.005, "momentum": 0.9}

BASE: dict[str, Any] = {
    "run": {"iterations": 100, "batch_size": 12, "latent_dim": 8, "precision": "float32"},
    "data": {"use": "standard/digits", "flip": True, "crop_padding": 1},
    "networks": {
        "generator": {"use": "standard/sndcgan-generator", "width": 0.2},
        "discriminator": {"use": "standard/sndcgan-discriminator", "width": 0.2},
    },
    "heads": {"adversarial": {"use": "standard/linear"}},
    "losses": {"adversarial": {"use": "standard/relativistic"}},
    "optimizers": {"generator": SGD, "discriminator": SGD},
    "ema": {"decay": 0.9},
}
BATCH_NORM: dict[str, Any] = {
    "networks": {
        "generator": {"use": "standard/dcgan-generator", "width": 0.2},
        "discriminator": {"use": "standard/dcgan-discriminator", "width": 0.2},
    }
}
PENALTY: dict[str, Any] = {"losses": {"penalty": {"use": "standard/gradient-penalty", "weight": 10.0}}}
SUPERVISED: dict[str, Any] = {
    "run": BASE["run"],
    "data": BASE["data"],
    "samplers": {"tail": {"use": "standard/long-tail", "ratio": 10.0}},
    "networks": {"classifier": {"use": "host/classifier"}},
    "losses": {"loss": {"use": "standard/cross-entropy"}},
    "loop": {"use": "standard/supervised"},
    "optimizers": {"classifier": SGD},
}

GROUPS: dict[str, Any] = {
    "samplers": {"groups": {"use": "probe/groups"}},
    "networks": {"generator": {"use": "probe/group-generator"}, "discriminator": {"use": "probe/group-discriminator"}},
    "losses": {"spread": {"use": "probe/spread"}},
}
ATTRIBUTES: dict[str, Any] = {
    "data": {"use": "probe/faces"},
    "latent": {"use": "probe/causal"},
    "networks": {"generator": {"use": "probe/attribute-generator"}, "causal": {"use": "probe/causal-model"}},
    "heads": {"adversarial": {"use": "probe/attribute-head"}},
    "losses": {"cause": {"use": "probe/cause-loss"}},
}

CASES: dict[str, dict[str, Any]] = {
    "plain": BASE,
    "a term with state": merge(BASE, BALANCE),
    "a network that starts from the first batch": merge(BASE, {"networks": {"discriminator": {"use": "probe/standardizing"}}}),
    "a term's own parameter": merge(BASE, {"losses": {"learned": {"use": "probe/uncertain"}}}),
    "attack of shared gradient": merge(BASE, FREE),
    "gradient penalty": merge(BASE, PENALTY),
    "a loop with state": merge(BASE, {"loop": {"use": "probe/lookahead", "k": 2}}),
    "turns in pieces": merge(BASE, {"loop": {"accumulate": 2}}),
    "more generated images": merge(BASE, {"losses": {"adversarial": {"use": "standard/hinge"}}, "loop": {"generated": 24}}),
    "batch norm": merge(BASE, BATCH_NORM),
    "batch norm and gradient penalty": merge(merge(BASE, BATCH_NORM), PENALTY),
    "batch norm in a head": merge(merge(BASE, BATCH_NORM), {"heads": {"adversarial": {"use": "probe/normed"}}}),
    "a head that compares images": merge(BASE, {"heads": {"adversarial": {"use": "probe/comparing"}}}),
    "a head that compares images and gradient penalty": merge(
        merge(BASE, PENALTY),
        {"networks": {"discriminator": {"spectral_norm": False}}, "heads": {"adversarial": {"use": "probe/comparing"}}},
    ),
    "attack of its own gradient": merge(BASE, {"attacks": {"sign": {"use": "probe/sign", "epsilon": 0.01}}}),
    "a sampler that sees the whole batch": merge(BASE, {"samplers": {"noisy": {"use": "probe/noisy"}}}),
    "groups of images": merge(BASE, GROUPS),
    "attributes of a causal model": merge(BASE, ATTRIBUTES),
    "labels as in the data": merge(merge(BASE, BALANCE), {"latent": {"use": "standard/normal", "labels": "data"}}),
    "classifier": SUPERVISED,
    "classifier, classes drawn equally often": merge(SUPERVISED, {"samplers": {"even": {"use": "standard/class-balanced"}}}),
}


def outcome(run: Run) -> dict[str, Tensor]:
    """Step a run; return its state and, averaged over the processes, the losses of each iteration."""
    losses: dict[str, list[Tensor]] = {}
    for _ in range(STEPS):
        run.step()
        for name, value in run.losses.items():
            losses.setdefault(name, []).append(collectives.global_mean(value))
    state = state_of(run)
    if distributed.world_size() > 1:
        for owner, module, buffer in run.parts.rows():
            state[f"{owner}/{buffer}"] = torch.cat(collectives.gather_list(getattr(module, buffer)))
    return {**state, **{f"losses/{name}": torch.stack(values) for name, values in losses.items()}}


def write_outcomes(folder: Path, cases: Mapping[str, dict[str, Any]], build: Callable[..., Run] = run_of) -> None:
    """Be one of the processes: write the outcome of every case."""
    torch.set_num_threads(1)
    distributed.start(torch.device("cpu"))
    for name, table in cases.items():
        found = outcome(build(base=table))
        if distributed.rank() == 0:
            write_tensors(folder / f"{name}.safetensors", found, {})
    distributed.stop()


if __name__ == "__main__":
    write_outcomes(Path(sys.argv[1]), CASES)
