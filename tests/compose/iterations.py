"""Recipes whose iterations differ in what a graph must get right, and what is asked of any way to run them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tests.compose.hosts import CBGAN, GAME, same
from tests.compose.test_by_hand import RECIPE

if TYPE_CHECKING:
    from gancore_profile.cuda_graphs import Iterations

    from gancore.engine.run import Run

SNDCGAN: dict[str, Any] = {
    "run": {"iterations": 20, "batch_size": 8, "latent_dim": 8, "precision": "float32"},
    "data": {"use": "standard/digits"},
    "networks": {
        "generator": {"use": "standard/sndcgan-generator", "width": 0.125},
        "discriminator": {"use": "standard/sndcgan-discriminator", "width": 0.125},
    },
    "heads": {"adversarial": {"use": "standard/linear"}},
    "losses": {"adversarial": {"use": "standard/hinge"}},
    "optimizers": {player: {"schedule": {"use": "linear"}} for player in ("generator", "discriminator")},
    "ema": {"decay": 0.9, "start": 5},
}
KINDS: dict[str, tuple[dict[str, Any], list[dict[str, Any]], int]] = {
    "sndcgan, a falling rate, an average from iteration 5 on": (SNDCGAN, [], 2),
    "class balance": (GAME, [CBGAN], 1),
    "free replay": (
        SNDCGAN,
        [{"attacks": {"free": {"use": "fastrobgan/free"}}, "loop": {"use": "fastrobgan/free-replay", "replays": 3}}],
        2,
    ),
    "gradient penalty": (GAME, [{"losses": {"penalty": {"use": "standard/gradient-penalty", "weight": 10.0}}}], 1),
    "augmentation": (GAME, [{"data": {"flip": True, "crop_padding": 2}}], 1),
    "augmentation, several steps of the discriminator": (
        GAME,
        [{"data": {"flip": True, "crop_padding": 2}, "loop": {"use": "standard/alternating", "discriminator_steps": 2}}],
        1,
    ),
    "long tail, classes alike": (
        GAME,
        [
            {
                "samplers": {
                    "long_tail": {"use": "standard/long-tail", "ratio": 20.0},
                    "balanced": {"use": "standard/class-balanced"},
                }
            }
        ],
        1,
    ),
    "a term now and then": (
        GAME,
        [{"losses": {"penalty": {"use": "standard/gradient-penalty", "weight": 10.0, "start": 3, "every": 2}}}],
        2,
    ),
    "attack with noise": (GAME, [{"attacks": {"sign": {"use": "probe/sign"}}}], 1),
    "difference seeking and a source": (
        SNDCGAN,
        [{"samplers": {"difference": {"use": "dsgan/difference", "alpha": 0.25, "wide": "normal"}}, "sources": {"avoid": {}}}],
        2,
    ),
    "sgd with momentum and steps": (
        GAME,
        [{"optimizers": {"generator": {"use": "sgd", "momentum": 0.9, "schedule": {"use": "steps", "at": [4, 6]}}}}],
        1,
    ),
    "a weight that falls": (GAME, [{"losses": {"adversarial": {"weight": 2.0, "schedule": {"use": "linear"}}}}], 1),
    "bfloat16, uniform latents": (GAME, [{"run": {"precision": "bfloat16"}, "latent": {"use": "standard/uniform"}}], 1),
    "all of the by-hand example": (RECIPE, [], 1),
    "a perturbation against a classifier": (
        {key: GAME[key] for key in ("run", "data")},
        [
            {
                "networks": {"generator": {"use": "probe/tiny-generator"}, "classifier": {"use": "host/classifier"}},
                "losses": {"fooling": {"use": "uap/fooling"}},
                "loop": {"use": "uap/crafting", "skip_gradient": 0.5},
            }
        ],
        1,
    ),
    "supervised, class weights from iteration 9 on": (
        {key: GAME[key] for key in ("run", "data")},
        [
            {
                "networks": {"classifier": {"use": "host/classifier"}},
                "samplers": {"long_tail": {"use": "standard/long-tail", "ratio": 20.0}},
                "losses": {"loss": {"use": "standard/cross-entropy", "drw_start": 9}},
                "loop": {"use": "standard/supervised"},
            }
        ],
        1,
    ),
}


class Told(list[str]):
    """What was told."""

    def __call__(self, text: str) -> None:
        self.append(text)


def check_like_always(eager: Run, run: Run, iterations: Iterations, number: int) -> None:
    """Ask that iterations come to what eager ones come to, each of so many."""
    for _ in range(number):
        eager.step()
        iterations.step()
        assert same(eager, run) == []
        assert eager.counters() == run.counters()
        assert eager.turn == run.turn
        assert list(eager.losses) == list(run.losses)
        assert all(torch.equal(eager.losses[name], run.losses[name]) for name in eager.losses)
