"""Latents: what a recipe's distribution draws is what the generator sees in training, in samples and in scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gancore import GancoreError
from gancore.engine.run import Run
from gancore.parallel.randomness import noise_for
from gancore.training.evaluate import Evaluator
from gancore.training.sampling import sample
from tests.hosts import CPU, plan_of, run_of, same, steps

MIXTURE: dict[str, Any] = {"latent": {"use": "probe/mixture"}, "run": {"latent_dim": 8}}
SCORED: dict[str, Any] = {
    "networks": {"annotator": {"use": "host/classifier"}},
    "metrics": {"histogram": {"use": "standard/class-histogram", "network": "annotator"}},
    "evaluation": {"samples": 24, "batch_size": 12},
}


def seen_by(network: Any) -> list[tuple[Tensor, Tensor]]:
    """Note the latents and labels of each call of a generator from now on."""
    calls: list[tuple[Tensor, Tensor]] = []
    network.register_forward_pre_hook(lambda _, arguments: calls.append(arguments))
    return calls


def assert_of_the_mixture(run: Run, calls: list[tuple[Tensor, Tensor]]) -> None:
    assert calls
    for z, label in calls:
        assert run.prior is not None
        assert (z - run.prior.means[label]).abs().max() < 1e-2


def test_the_generator_sees_the_recipes_latents_in_training() -> None:
    run = run_of(MIXTURE)
    calls = seen_by(run.networks["generator"])
    steps(run, 2)
    assert len(calls) == 4
    assert_of_the_mixture(run, calls)


def test_samples_keep_the_labels_that_their_latents_go_with() -> None:
    run = run_of(MIXTURE)
    calls = seen_by(run.generator())
    _, label = sample(run, 12)
    assert_of_the_mixture(run, calls)
    assert torch.equal(label, calls[0][1])
    with pytest.raises(GancoreError, match="labels of their own, so no class can be asked for"):
        sample(run, 12, classes=[3])


def test_an_evaluation_draws_from_the_recipes_latents_and_says_how_its_labels_were_made() -> None:
    run = run_of(MIXTURE, SCORED)
    calls = seen_by(run.generator())
    scores = Evaluator(run)()
    assert len(calls) == 2
    assert_of_the_mixture(run, calls)
    assert scores.protocols["histogram"]["fake_labels"] == "of the components"
    assert Evaluator(run_of(SCORED))().protocols["histogram"]["fake_labels"] == "uniform"


def test_a_loss_term_reads_a_code_by_its_name() -> None:
    term = {"losses": {"predict": {"use": "probe/predict"}}}
    run = steps(run_of(MIXTURE, term), 2)
    assert run.losses["generator/predict"].isfinite()
    with pytest.raises(GancoreError, match="asks for 'twice' in its generator, which nothing in this recipe provides"):
        plan_of(term)


def test_the_buffers_of_latents_are_saved_and_restored() -> None:
    whole, first, second = (run_of(MIXTURE) for _ in range(3))
    steps(whole, 4)
    steps(first, 2)
    tensors = {name: value.detach().clone() for name, value in first.tensors().items()}
    assert torch.equal(tensors["latent/means"], first.prior.means)
    second.prior.means.zero_()
    second.restore(tensors, first.counters())
    assert not same(whole, steps(second, 2))
    assert not [name for name in run_of().tensors() if name.startswith("latent")]


@pytest.mark.parametrize("use", ["standard/normal", "standard/uniform"])
def test_the_standard_latents_draw_numbers_and_then_labels(use: str) -> None:
    drawn = run_of({"latent": {"use": use}}).latent(5, "latent", 3, 0)
    noise = noise_for(CPU, 0, "latent", 3, 0)
    numbers = torch.randn(5, 8, generator=noise) if use == "standard/normal" else torch.rand(5, 8, generator=noise) * 2 - 1
    assert torch.equal(drawn.z, numbers)
    assert torch.equal(drawn.label, torch.randint(0, 10, (5,), generator=noise))


def test_standard_normal_is_what_a_recipe_without_latents_has() -> None:
    plan = plan_of()
    assert plan.recipe.table["latent"] == {"use": "standard/normal"}
    alone = {
        "data": {"use": "standard/digits"},
        "networks": {"classifier": {"use": "host/classifier"}},
        "losses": {"loss": {"use": "standard/cross-entropy"}},
        "loop": {"use": "standard/supervised"},
    }
    run = run_of(base=alone)
    assert "latent" not in run.recipe.table
    with pytest.raises(GancoreError, match="no generator to draw latents for"):
        run.latent(3, "latent", 0, 0)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"latent": {"use": "normall"}}, "latent 'normall', which does not exist; did you mean 'normal'"),
        ({"latent": {"use": "standard/normal", "width": 3}}, "has no setting 'width'"),
        ({"latent": {"use": "probe/short"}}, "draws z of 15 rows, label of 16 rows for 16 images"),
        ({"latent": False}, "latent must be a table with a `use`"),
        ({"run": {"latent": "uniform"}}, "has no setting 'latent'"),
        (
            {"latent": {"use": "probe/clashing"}, "networks": {"classifier": {"use": "host/classifier"}}},
            "has a code called 'classifier', a name that is taken here",
        ),
    ],
)
def test_wrong_latents_get_one_sentence(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GancoreError) as caught:
        steps(run_of(table), 1)
    assert sentence in str(caught.value)
