"""The mixture of generators: parity with the authors' code, what the latent makes of one generator, and training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_mgan.mixture import Classifier, Diversity, Generators
from gancore_standard.losses.objectives import NonSaturating
from gancore_training import TrainingRun, checkpoint, recipe_digest
from torch import Tensor, nn
from torch.nn import functional as F

from gancore import GancoreError
from gancore.engine.devices import choose_device
from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from gancore.registry import registry

Load = Callable[[str], dict[str, Any]]


def test_the_losses_agree_with_the_authors_code(parity: Load) -> None:
    vectors = {name: torch.from_numpy(array) for name, array in parity("improved_mgan_ssl").items() if name.startswith("mgan")}
    game = NonSaturating()
    real, fake, logits = (vectors[f"mgan_{name}"] for name in ("bin_real", "bin_fake", "mul_fake"))
    member = F.one_hot(vectors["mgan_gen_index"], 3).to(logits.dtype)
    term = Diversity(beta=0.01)
    d = game.discriminator(real_adversarial=real, fake_adversarial=fake) + term.discriminator(
        fake_members=logits, member=member
    )
    g = game.generator(fake_adversarial=fake) + term.generator(fake_members=logits, member=member)
    torch.testing.assert_close(d, vectors["mgan_d_loss"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(g, vectors["mgan_g_loss_beta0_01"], rtol=1e-9, atol=1e-12)


def test_both_players_lower_the_classifiers_cross_entropy() -> None:
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    member = torch.eye(3, dtype=torch.float64).repeat(2, 1)
    term = Diversity(beta=0.25)
    (d,) = torch.autograd.grad(term.discriminator(fake_members=logits, member=member), logits)
    (g,) = torch.autograd.grad(term.generator(fake_members=logits, member=member), logits)
    torch.testing.assert_close(d, (logits.softmax(1) - member) / 6)
    torch.testing.assert_close(g, d / 4)


def drawn(number: int, **settings: Any) -> tuple[Tensor, Tensor]:
    latents = Generators(**{"latent_dim": 12, "generators": 3, **settings}).draw(number, torch.Generator().manual_seed(0))
    return latents.z, latents.codes["member"]


def test_a_linear_layer_on_the_latent_is_a_layer_of_each_generators_own() -> None:
    z, member = drawn(30)
    layer = nn.Linear(12, 5)
    own = layer.weight.view(5, 3, 4)
    numbers = z.view(30, 3, 4).sum(1)
    expected = torch.stack([own[:, k] @ x + layer.bias for k, x in zip(member.argmax(1).tolist(), numbers, strict=True)])
    torch.testing.assert_close(layer(z), expected)


@pytest.mark.parametrize("numbers", ["uniform", "normal"])
def test_numbers_have_the_scale_of_other_latents(numbers: str) -> None:
    z, _ = drawn(60000, numbers=numbers, same_numbers=False)
    assert z.square().mean().item() == pytest.approx(1 / 3 if numbers == "uniform" else 1, rel=0.02)
    assert (z.abs().max().item() <= 3**0.5) == (numbers == "uniform")


def test_generators_take_turns_and_begin_with_any() -> None:
    latent = Generators(latent_dim=12, generators=3)
    noise = torch.Generator().manual_seed(0)
    members = [latent.draw(7, noise).codes["member"].argmax(1).tolist() for _ in range(50)]
    assert {tuple(m) for m in members} == {(k, *((k + i) % 3 for i in range(1, 7))) for k in range(3)}


def test_the_generators_of_a_round_have_the_same_numbers_or_not() -> None:
    for same in (True, False):
        z, member = drawn(9, same_numbers=same)
        numbers = z.view(9, 3, 4)[member.bool()].view(3, 3, 4)
        equal = (numbers == numbers[:, :1]).all(2)
        assert bool(equal.all()) == same
        assert not torch.equal(numbers[0], numbers[1])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(GancoreError, match=r"5 generators share a latent of 12 numbers, .* e\.g\. 10\."):
        Generators(latent_dim=12, generators=5)
    with pytest.raises(GancoreError, match="tells 4 generators apart, and the latent has 3"):
        Diversity().generator(fake_members=torch.zeros(2, 4), member=torch.eye(3)[:2])


def test_a_spectral_classifier_has_norm_one() -> None:
    head = Classifier(features=6, generators=3, spectral_norm=True)
    for _ in range(100):
        head(torch.zeros(1, 6), torch.zeros(1).long())
    assert torch.linalg.matrix_norm(head.linear.weight, 2).item() == pytest.approx(1, abs=1e-3)


# -- training ----------------------------------------------------------------------------------------------------------

SMALL = ["run.batch_size=16", "run.iterations=4", "data.samples=200", "metrics=false"]


def built(name: str, *more: str, overlays: tuple[str, ...] = ()) -> TrainingRun:
    recipe = read(name, registry(), overlays=overlays, assignments=[*SMALL, *more])
    return TrainingRun(make_plan(recipe, registry()), choose_device("cpu"), {})


def steps(run: TrainingRun, number: int) -> dict[str, Tensor]:
    for _ in range(number):
        run.step()
    return {name: tensor.clone() for name, tensor in run.networks["generator"].state_dict().items()}


@pytest.mark.parametrize("name", ["mgan/ring", "mgan/grid"])
def test_a_small_recipe_trains_and_resumes_to_the_last_bit(name: str, tmp_path: Path) -> None:
    whole = steps(built(name), 4)
    half = built(name)
    steps(half, 2)
    checkpoint.save(half, tmp_path)
    again = built(name)
    checkpoint.load(again, checkpoint.checkpoints(tmp_path)[-1])
    later = steps(again, 2)
    assert all(torch.equal(whole[key], later[key]) for key in whole)


def test_the_fragment_over_the_plain_recipe_is_the_papers_recipe() -> None:
    numbers = ["run.latent_dim=128", "latent.generators=8", "heads.members.generators=8", "losses.diversity.beta=0.125"]
    recipe = read("standard/ring", registry(), overlays=["mgan/mixture"], assignments=numbers)
    assert recipe_digest(recipe) == recipe_digest(read("mgan/ring", registry()))


def test_two_numbers_of_generators_are_refused_at_once() -> None:
    with pytest.raises(GancoreError, match="tells 5 generators apart, and the latent has 8"):
        steps(built("mgan/ring", "heads.members.generators=5"), 1)


def test_beside_data_to_avoid_the_classifier_sees_the_generators_images_alone() -> None:
    run = built("mgan/ring", "run.batch_size=20", overlays=("dsgan/difference",))
    term = run.terms["diversity"]
    seen: list[int] = []
    own = term.discriminator
    term.discriminator = lambda **needs: seen.append(len(needs["fake_members"])) or own(**needs)  # type: ignore[method-assign, assignment, func-returns-value]
    steps(run, 1)
    assert seen == [4, 20]  # 0.8 of 20 are data to avoid in D's turn; in the generators' turn the method is called once more
