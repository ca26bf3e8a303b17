"""Optimizers: all of torch's by name, plugins' by hook, and what is refused."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import pytest
import torch

import gancore
from gancore import GancoreError
from gancore.engine.run import Run
from gancore.recipe.recipe import check_table
from gancore.registry import Registry
from tests.hosts import GAME, plan_of, run_of, steps

NAMES = sorted(
    name
    for name, cls in vars(torch.optim).items()
    if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and cls is not torch.optim.Optimizer
)
REFUSED = {
    "LBFGS": r"optimizers\.generator \(torch/LBFGS\) computes the loss several times in a step",
    "SparseAdam": r"optimizers\.generator \(torch/SparseAdam\) takes sparse gradients alone",
    "Muon": r"optimizers\.generator \(torch/Muon\) can't be built: Muon only supports 2D parameters",
}


def trained_by(use: str, **settings: Any) -> dict[str, Any]:
    return {"optimizers": {player: {"use": use, **settings} for player in ("generator", "discriminator")}}


def weights(run: Run) -> list[torch.Tensor]:
    return [p.detach().clone() for player in run.players.values() for p in player.parameters]


def test_torch_has_the_optimizers_that_this_test_knows() -> None:
    assert {"AdamW", "SGD", "Adagrad", "Rprop", "LBFGS", "SparseAdam"} <= set(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
def test_every_optimizer_of_torch_trains(name: str) -> None:
    whole = run_of(trained_by(f"torch/{name}"))
    assert type(whole.players["generator"].optimizer) is getattr(torch.optim, name)
    before = weights(whole)
    steps(whole, 4)
    # Steps in proportion to a parameter leave a bias at 0.
    assert any(not torch.equal(a, b) for a, b in zip(before, weights(whole), strict=True))


@pytest.mark.parametrize("name", sorted(set(REFUSED) & set(NAMES)))
def test_an_optimizer_that_one_backward_cant_feed_is_refused(name: str) -> None:
    with pytest.raises(GancoreError, match=REFUSED[name]):
        run_of(trained_by(f"torch/{name}"))


@pytest.mark.parametrize("use", ["torch/AdamW", "torch/adamw", "AdamW", "adamw"])
def test_a_name_of_torchs_may_be_written_as_one_likes(use: str) -> None:
    plan = plan_of(trained_by(use, lr=0.5, betas=[0.1, 0.2]))
    assert plan.recipe.table["optimizers"]["generator"]["use"] == "torch/AdamW"
    optimizer = plan.optimizers["generator"]
    assert optimizer.cls is torch.optim.AdamW
    assert optimizer.settings == {"lr": 0.5, "betas": (0.1, 0.2)}


def test_a_plugins_optimizer_comes_before_torchs_of_the_same_name() -> None:
    plan = plan_of({"optimizers": {"generator": {"use": "sgd"}, "discriminator": {"lr": 0.5}}})
    assert [plan.optimizers[p].full_name for p in ("generator", "discriminator")] == [
        "standard/sgd",
        "standard/adam",
    ]
    assert plan.recipe.table["optimizers"] == {
        "generator": {"use": "standard/sgd"},
        "discriminator": {"use": "standard/adam", "lr": 0.5},
    }
    assert plan_of().optimizers["generator"].full_name == "standard/adam"


def test_a_plugins_optimizer_trains() -> None:
    run = run_of(trained_by("descent", lr=0.25, sign=True))
    before = weights(run)
    steps(run, 1)
    for a, b in zip(before, weights(run), strict=True):
        moved = (a - b).abs()
        assert ((moved - 0.25).abs().lt(1e-6) | moved.eq(0)).all()


def test_two_plugins_with_one_optimizer_are_ambiguous() -> None:
    def gancore_optimizers() -> list[gancore.Component]:
        return [gancore.Component("adam", "torch.optim:Adam", "Another")]

    other = type(sys)("other")
    other.gancore_optimizers = gancore.hookimpl(gancore_optimizers)
    from gancore.testing import host
    from tests import probe, standin

    found = Registry.of({"standard": standin, "host": host, "probe": probe, "other": other})
    with pytest.raises(GancoreError, match=r"'adam', which is ambiguous: it may be standard/adam .* and other/adam"):
        check_table({**GAME, **trained_by("adam")}, found, name="test")


def test_without_the_standard_components_a_recipe_says_what_to_install() -> None:
    from gancore.testing import host
    from tests import probe

    alone = Registry.of({"host": host, "probe": probe})
    with pytest.raises(GancoreError, match=r"needs the plugin 'standard', .* try `pip install gancore-plugin-standard`"):
        check_table({**GAME, "data": {"use": "host/noise"}}, alone, name="test")
    with pytest.raises(GancoreError, match=r"optimizers\.generator uses the optimizer 'standard/adam', which needs the plugin"):
        alone.component("optimizer", "standard/adam", "test: optimizers.generator")


def test_a_recipe_that_names_its_optimizers_needs_not_the_one_that_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(recipe: str, player: str, registry: Registry) -> None:
        raise GancoreError(f"{recipe}: the {player} has no optimizer.")

    monkeypatch.setattr("gancore.plan.load.default_optimizer", absent)
    assert plan_of(trained_by("torch/Adam")).optimizers["generator"].full_name == "torch/Adam"
    with pytest.raises(GancoreError, match="the generator has no optimizer"):
        plan_of()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"use": "adamm"}, "which does not exist (did you mean 'adam'"),
        (
            {"use": "torch/AdamWW"},
            "which does not exist (did you mean 'torch/AdamW'?); see `gancore components optimizer` and torch.optim.",
        ),
        ({"use": "torch/AdamW", "momentum": 0.9}, "has no setting 'momentum'"),
        ({"use": "torch/AdamW", "lr": "fast"}, "lr must be a number, not 'fast'"),
        ({"use": "torch/AdamW", "betas": [0.9]}, "betas must be a list of 2: a number, a number"),
        ({"use": "torch/AdamW", "amsgrad": 1}, "amsgrad must be true or false"),
        ({"use": "torch/AdamW", "fused": 3}, "fused must be true or false or nothing"),
        ({"use": "torch/AdamW", "lr": -1.0}, "can't be built: Invalid learning rate: -1.0"),
        ({"use": 3}, "use must be a text"),
    ],
)
def test_a_wrong_optimizer_gets_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GancoreError) as caught:
        run_of({"optimizers": {"generator": settings}})
    assert sentence in str(caught.value)
    assert "optimizers.generator" in str(caught.value)
