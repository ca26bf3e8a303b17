"""Latents: what a recipe's distribution draws is what the generator sees in training, in samples and in scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gancore import GancoreError
from gancore.engine.run import Run
from gancore.parallel.randomness import noise_for
from tests.hosts import CPU, plan_of, run_of, steps

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


def test_a_loss_term_reads_a_code_by_its_name() -> None:
    term = {"losses": {"predict": {"use": "probe/predict"}}}
    run = steps(run_of(MIXTURE, term), 2)
    assert run.losses["generator/predict"].isfinite()
    with pytest.raises(GancoreError, match="asks for 'twice' in its generator, which nothing in this recipe provides"):
        plan_of(term)


TWO_CLASSES: dict[str, Any] = {"samplers": {"some": {"use": "standard/take-classes", "keep": [1, 7]}}}
TAIL: dict[str, Any] = {"samplers": {"tail": {"use": "standard/long-tail", "ratio": 16}}}


@pytest.mark.parametrize("use", ["probe/every-class", "standard/normal"])
def test_the_classes_that_occur_are_asked_for_equally_often(use: str) -> None:
    latent = {"latent": {"use": use}}
    run = run_of(TWO_CLASSES, latent)
    counts = run.latent(10_000, "many").label.bincount(minlength=10)
    assert counts.sum() == counts[[1, 7]].sum() == 10_000
    assert abs(counts[1] - 5000) < 250
    # Where every class occurs, a latent's own labels are as it draws them.
    assert torch.equal(run_of(latent).latent(5, "own").label, _drawn_last(5, "own"))


def _drawn_last(number: int, *purpose: str) -> Tensor:
    """The uniform labels that follow `number` normal latents of 8 numbers."""
    noise = noise_for(CPU, 0, *purpose)
    torch.randn((number, 8), generator=noise)
    return torch.randint(0, 10, (number,), generator=noise)


def test_labels_are_as_frequent_as_samplers_draw_the_images() -> None:
    balanced = {"samplers": {**TAIL["samplers"], "balanced": {"use": "standard/class-balanced"}}}
    run = run_of(balanced, {"latent": {"use": "standard/normal", "labels": "data"}})
    shares = run.latent(20_000, "many").label.bincount(minlength=10) / 20_000
    assert (shares - 0.1).abs().max() < 0.01
    never = {"samplers": {"never": {"use": "probe/never", "label": 4}}}
    assert run_of(never).batches.labels.values.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_a_latent_whose_labels_go_with_it_is_refused_where_a_class_never_occurs() -> None:
    with pytest.raises(GancoreError, match=r"asks for images of class [0234568], of which the data have none; its author"):
        steps(run_of(MIXTURE, TWO_CLASSES), 1)


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
        ({"latent": {"use": "normall"}}, "latent 'normall', which does not exist (did you mean 'normal'"),
        ({"latent": {"use": "standard/normal", "width": 3}}, "has no setting 'width'"),
        (
            {"latent": {"use": "probe/halves"}},
            "label (16,) torch.float32 for 16 images; it must draw z (16,), label (16,) torch.int64",
        ),
        ({"latent": {"use": "probe/short"}}, "draws z (15,), label (16,) torch.int64 for 16 images; it must draw z (16,)"),
        ({"latent": {"use": "probe/scored"}}, "has a code called 'labels', a name that is taken here"),
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
