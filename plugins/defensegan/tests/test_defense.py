"""Reconstruction: parity with the authors' code, an independent descent, gradients, and what the attacker sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gancore_defensegan
import gancore_fastrobgan
import gancore_standard
import pytest
import torch
from gancore_defensegan.black_box import BlackBox
from gancore_defensegan.defense import Reconstruction
from gancore_defensegan.reconstruction import Descent, reconstructed, starts
from gancore_standard.robustness import build_attack, robust_accuracy
from torch import Tensor, nn
from torch.nn import functional as F

import gancore
from gancore import GancoreError
from gancore.engine.run import Run
from gancore.plan.load import make_plan
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from gancore.registry import Registry
from gancore.testing import host
from tests.compose.hosts import CPU

Load = Callable[[str], dict[str, Any]]

REGISTRY = Registry.of(
    {"standard": gancore_standard, "fastrobgan": gancore_fastrobgan, "defensegan": gancore_defensegan, "host": host}
)


class Affine(gancore.Generator):
    """The generator of the parity vectors: tanh(A z + b)."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.latent_dim = weight.shape[1]
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.tanh(F.linear(z, self.weight, self.bias))


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small() -> tuple[Affine, Tensor, Tensor]:
    """Return a generator, three images, and two starts for each."""
    drawn = torch.randn(11, 12, generator=noise(), dtype=torch.float64)
    return Affine(drawn[:4].T / 2, drawn[4]), drawn[5:8].tanh(), torch.randn(6, 4, generator=noise(1), dtype=torch.float64) / 2


# -- the descent -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [False, True])
def test_the_authors_reconstructions(parity: Load, decay: bool) -> None:
    vectors = {name: torch.as_tensor(value) for name, value in parity("defense_gan").items()}
    descent = Descent(steps=20, restarts=int(vectors["R"]), rate=1.0, momentum=0.7, decay=decay)
    images = reconstructed(Affine(vectors["A"], vectors["b"]), vectors["images"], vectors["z0"], None, descent)
    torch.testing.assert_close(images, vectors[f"decay{int(decay)}_rec"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 5, 9])
def test_the_rate_falls_for_the_last_fifth_of_the_steps(steps: int) -> None:
    rates = [Descent(steps, 1, 2.0, 0.7, True).rate_at(step) for step in range(steps)]
    first = math.ceil(0.8 * steps)
    assert rates == [2.0] * first + [0.2] * (steps - first)
    assert {Descent(steps, 1, 2.0, 0.7, False).rate_at(step) for step in range(steps)} == {2.0}


def test_a_descent_is_that_of_torchs_optimizer_and_the_best_start_is_kept() -> None:
    generator, x, z = small()
    images = reconstructed(generator, x, z, None, Descent(6, 2, 0.5, 0.7, False))
    for n in range(3):
        ends = []
        for start in z[2 * n : 2 * n + 2]:
            leaf = nn.Parameter(start.clone())
            optimizer = torch.optim.SGD([leaf], lr=0.5, momentum=0.7)
            for _ in range(6):
                optimizer.zero_grad()
                image = generator(leaf)
                loss = F.mse_loss(image, x[n])
                loss.backward()
                optimizer.step()
            ends.append((loss.item(), image.detach()))
        torch.testing.assert_close(images[n], min(ends, key=lambda end: end[0])[1])


class Cliff(gancore.Generator):
    """z itself where it is below 1, and no number beyond."""

    latent_dim = 1

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.where(z < 1, z, torch.nan)


def test_a_start_that_diverges_is_not_the_nearest() -> None:
    x, descent = torch.tensor([[0.5]]), Descent(3, 2, 0.1, 0.7, False)
    image = reconstructed(Cliff(), x, torch.tensor([[0.4], [2.0]]), None, descent)
    assert 0.4 < image.item() < 0.6
    assert torch.equal(reconstructed(Cliff(), x, torch.tensor([[2.0], [0.4]]), None, descent), image)
    with pytest.raises(GancoreError, match=r"^no start of an image's reconstruction comes to a number at rate = 0\.1; set a"):
        reconstructed(Cliff(), x, torch.full((2, 1), 2.0), None, descent)


def test_an_image_of_the_generator_is_found() -> None:
    generator, _, z = small()
    x = generator(torch.randn(3, 4, generator=noise(5), dtype=torch.float64)).detach()
    images = reconstructed(generator, x, z, None, Descent(400, 2, 1.0, 0.7, False))
    assert (images - x).abs().max() < 1e-3


def test_gradients_reach_the_image_through_all_steps_where_they_are_wanted() -> None:
    generator, x, z = small()

    def through(image: Tensor) -> Tensor:
        return reconstructed(generator, image, z, None, Descent(4, 2, 0.5, 0.7, False), differentiable=True)

    assert torch.autograd.gradcheck(through, (x.requires_grad_(),))
    plain = reconstructed(generator, x, z, None, Descent(4, 2, 0.5, 0.7, False))
    assert not plain.requires_grad
    torch.testing.assert_close(plain, through(x).detach())
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_starts_are_normal_with_a_variance_of_one_over_their_width() -> None:
    z = starts(4000, 16, noise())
    assert z.shape == (4000, 16)
    assert z.var().item() == pytest.approx(1 / 16, rel=0.03)
    assert torch.equal(z, starts(4000, 16, noise()))


# -- the defense of a run ----------------------------------------------------------------------------------------------

RECIPE: dict[str, Any] = {
    "run": {"iterations": 4, "batch_size": 8, "latent_dim": 4, "precision": "float32"},
    "data": {"use": "host/noise"},
    "networks": {"generator": {"use": "host/generator"}, "classifier": {"use": "host/classifier"}},
    "losses": {"classes": {"use": "standard/cross-entropy"}},
    "loop": {"use": "standard/supervised"},
}
TINY = {"steps": 3, "restarts": 2}


def run_of(*tables: dict[str, Any]) -> Run:
    table = RECIPE
    for over in tables:
        table = merge(table, over)
    return Run(make_plan(check_table(table, REGISTRY, name="test"), REGISTRY), CPU)


@pytest.mark.parametrize("sees", ["bare", "substitute", "through"])
@pytest.mark.parametrize("attack", ["fastrobgan/fgsm", "defensegan/black-box"])
def test_an_attack_on_a_defended_classifier(sees: str, attack: str) -> None:
    run = run_of()
    before = {name: value.clone() for name, value in run.networks["generator"].state_dict().items()}
    settings = {"rounds": 2, "epochs": 1} if "box" in attack else {}
    results = [
        robust_accuracy(
            run,
            attack,
            [0.3],
            settings=settings,
            defense="defensegan/reconstruction",
            defense_settings={**TINY, "sees": sees},
            samples=16,
        )
        for _ in range(2)
    ]
    assert results[0].accuracy == results[1].accuracy
    assert 0 <= results[0].accuracy["0.3"] <= results[0].natural <= 1
    assert results[0].protocol["defense"] == {
        "use": "defensegan/reconstruction",
        "settings": {**TINY, "sees": sees},
        "sees": sees,
    }
    assert all(torch.equal(before[name], value) for name, value in run.networks["generator"].state_dict().items())


def test_the_classifier_gets_images_of_the_generator() -> None:
    run = run_of()
    defense = Reconstruction(steps=1, restarts=2)
    defense.prepare(run)
    x = torch.rand(5, 1, 8, 8) * 2 - 1
    images = defense.defend(x, noise())
    z = starts(10, 4, noise())
    generated = run.networks["generator"](z, run.latent(10, "reconstruction").label)
    for n in range(5):
        assert any(torch.allclose(images[n], generated[2 * n + start], atol=1e-6) for start in range(2))


def test_a_run_without_a_generator_or_with_one_that_translates_is_refused() -> None:
    with pytest.raises(GancoreError, match="has no generator"):
        Reconstruction().prepare(run_of({"networks": {"generator": False}}))

    class Mirror(gancore.Translator):
        """Turns images."""

        def translate(self, images: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
            return images.flip(3)

    run = run_of()
    run.networks["generator"] = Mirror()
    with pytest.raises(GancoreError, match="translates images"):
        Reconstruction().prepare(run)


@pytest.mark.parametrize(
    ("settings", "piece"),
    [({"steps": 0}, "steps"), ({"rate": 0.0}, "rate"), ({"momentum": 1.0}, "momentum"), ({"sees": "white"}, "sees")],
)
def test_bad_settings_are_refused_in_a_sentence(settings: dict[str, Any], piece: str) -> None:
    with pytest.raises(GancoreError) as caught:
        robust_accuracy(
            run_of(), "fastrobgan/fgsm", [0.1], defense="defensegan/reconstruction", defense_settings=settings, samples=4
        )
    assert piece in str(caught.value)
    assert "\n" not in str(caught.value)


# -- the substitute ----------------------------------------------------------------------------------------------------


def brighter(images: Tensor) -> Tensor:
    """Say whether the left or the right half of images is brighter: a classifier without a gradient."""
    left, right = (half.mean((1, 2, 3)) for half in images.chunk(2, 3))
    return F.one_hot((right > left).long(), 2).float()


def test_a_substitute_learns_decisions_and_fools_who_has_no_gradient() -> None:
    x = torch.rand(60, 1, 8, 8, generator=noise()) * 0.4 - 0.2
    attack = BlackBox(epsilon=0.1, rounds=3, epochs=10, step=0.1, lr=3e-3, width=0.35, channels=1, image_size=8, classes=2)
    asked: list[int] = []

    def classify(images: Tensor) -> Tensor:
        asked.append(len(images))
        assert not torch.is_grad_enabled()
        return brighter(images)

    label = brighter(x).argmax(1)
    fooled = attack.fool(x, label, classify, noise())
    assert asked == [60, 60, 120]
    assert (fooled - x).abs().max() <= 0.1 + 1e-6
    assert (brighter(fooled).argmax(1) == label).float().mean() < 0.5
    random = x + 0.1 * torch.randn(x.shape, generator=noise()).sign()
    assert (brighter(random).argmax(1) == label).float().mean() > 0.6


def test_a_substitutes_batches_are_its_own() -> None:
    run = run_of()
    context = {**run.parts.context(), "batch_size": 1}
    attack: Any = build_attack(REGISTRY, "defensegan/black-box", {}, context, 0.1, where="test")
    assert attack.substitute_batch_size == 128
    # Of one image batch norm learns nothing.
    with pytest.raises(GancoreError, match="substitute_batch_size must be a whole number at least 2, not 1"):
        build_attack(REGISTRY, "defensegan/black-box", {"substitute_batch_size": 1}, context, 0.1, where="test")


def test_a_substitute_that_diverges_is_told() -> None:
    x = torch.rand(8, 1, 8, 8, generator=noise()) * 0.4 - 0.2
    attack = BlackBox(epsilon=0.1, rounds=2, epochs=3, lr=1e30, width=0.35, channels=1, image_size=8, classes=2)
    with pytest.raises(GancoreError, match=r"^the attack's substitute diverges at lr = 1e\+30; set a smaller lr\.$"):
        attack.fool(x, brighter(x).argmax(1), brighter, noise())
