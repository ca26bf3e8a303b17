"""The perturbation networks and the losses, against the public code's numbers and against the budget."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gancore_uap.budgets import size
from gancore_uap.losses import ActivationMaximization, Fooling
from gancore_uap.perturbations import GAP, Direct, scaled_to_budget
from torch import Tensor, nn
from torch.nn import functional as F

from gancore import GancoreError
from tests.formulas import formula_values

MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(1, 3, 1, 1)
SHAPE: dict[str, Any] = {"channels": 3, "image_size": 16, "latent_dim": 1}


def as_tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.asarray(array))


# -- scaling -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("output", "wanted"), [("tanh_out", "delta_mag10"), ("tanh_out2", "delta2_mag10")])
def test_output_is_scaled_as_the_public_code_does(parity, output, wanted):
    vectors = parity("gap")
    delta = scaled_to_budget(as_tensor(vectors[output]), MEAN, 10 / 255, "linf")
    # The public code works in the victim's normalized space.
    torch.testing.assert_close(delta / STD, as_tensor(vectors[wanted]), rtol=1e-9, atol=1e-12)


def test_the_scale_carries_no_gradient_as_in_the_public_code(parity):
    vectors = parity("gap")
    output = as_tensor(vectors["tanh_out"]).requires_grad_()
    delta = scaled_to_budget(output, MEAN, 10 / 255, "linf") / STD
    index = torch.arange(delta.numel(), dtype=torch.float64).view_as(delta)
    (delta * index.cos()).sum().backward()
    torch.testing.assert_close(output.grad, as_tensor(vectors["delta_vjp_cos"]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_output_is_scaled_down_never_up(norm):
    weak, strong = torch.full((1, 3, 4, 4), 0.002), torch.full((1, 3, 4, 4), 0.9)
    middle = torch.full((1, 3, 1, 1), 0.5)
    torch.testing.assert_close(scaled_to_budget(weak, middle, 0.04, norm), weak / 2, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(scaled_to_budget(strong, middle, 0.04, norm), torch.full_like(strong, 0.04))


# -- the generator -----------------------------------------------------------------------------------------------------


def filled(gap: GAP, names: list[str]) -> None:
    """Write the vectors' weights; their names count running statistics too, which ours does without."""
    own = iter([(name, tensor) for name, tensor in gap.layers.state_dict().items()])
    for j, entry in enumerate(names):
        name, _, shape = entry.partition(" ")
        if "running" in name:
            continue
        _, tensor = next(own)
        assert "x".join(map(str, tensor.shape)) == shape
        tensor.copy_(formula_values(name, tuple(tensor.shape), j).to(tensor.dtype))
    assert next(own, None) is None


def test_generator_agrees_with_the_public_one(parity):
    vectors = parity("gap_generator")
    gap = GAP(channels=3, image_size=32, latent_dim=1, maps=8)
    filled(gap, [str(name) for name in vectors["names"]])
    output = gap.layers(as_tensor(vectors["x"]))
    torch.testing.assert_close(output, as_tensor(vectors["train_out"])[:1], rtol=1e-4, atol=1e-5)


def test_generator_has_the_public_ones_size(parity):
    with torch.device("meta"):
        gap = GAP(channels=3, image_size=224, latent_dim=1)
    assert sum(parameter.numel() for parameter in gap.parameters()) == int(parity("gap_generator")["params_ngf64"])


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("cls", [GAP, Direct])
def test_training_never_leaves_the_budget(cls, norm):
    small = {"maps": 8, "blocks": 1} if cls is GAP else {"start": 1.0}
    network = cls(**SHAPE, epsilon=0.03, norm=norm, **small)
    optimizer = torch.optim.SGD(network.parameters(), lr=50.0)
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    for _ in range(5):
        optimizer.zero_grad()
        network(torch.zeros(4, 1), images=images).square().mean().neg().backward()
        optimizer.step()
        with torch.no_grad():
            getattr(network, "project_", lambda: None)()
        assert float(size(network.perturbation().detach()[0], norm)) <= 0.03 * (1 + 1e-6)


def test_images_are_perturbed_on_their_own_scale_and_clipped():
    network = Direct(**SHAPE, epsilon=0.1)
    with torch.no_grad():
        network.delta.fill_(0.1)
    images = torch.full((2, 3, 16, 16), -1.0)
    images[1] = 0.95
    perturbed = network(torch.zeros(2, 1), images=images)
    torch.testing.assert_close(perturbed[0], torch.full((3, 16, 16), -0.8))
    assert bool((perturbed[1] == 1).all())


def test_training_and_evaluation_give_one_perturbation():
    network = GAP(**SHAPE, maps=8, blocks=1)
    before = network.train().perturbation()
    assert torch.equal(before, network.eval().perturbation())


@pytest.mark.parametrize("cls", [GAP, Direct])
@pytest.mark.parametrize("epsilon", [0.0, -0.1, 1.5, math.nan])
def test_a_budget_out_of_range_is_refused(cls, epsilon):
    with pytest.raises(GancoreError, match="no budget"):
        cls(**SHAPE, epsilon=epsilon)


def test_sizes_that_the_generator_cannot_make_are_refused():
    with pytest.raises(GancoreError, match="multiple of 4"):
        GAP(channels=3, image_size=30, latent_dim=1)
    with pytest.raises(GancoreError, match="center has 1 channels"):
        GAP(**SHAPE, center=[0.5])


# -- losses ------------------------------------------------------------------------------------------------------------


def test_fooling_is_the_papers_loss(parity):
    vectors = parity("gap")
    clean = as_tensor(vectors["logits_clean"])
    perturbed = as_tensor(vectors["logits_recons_it0"])
    # The vectors' labels are the stand-in classifier's own decisions.
    own = Fooling().double().generator(real_classifier=clean, fake_classifier=perturbed)
    wanted = float(vectors["seed_loss_neglogCE_it0"])
    assert own.item() == pytest.approx(wanted, rel=1e-9)
    least = Fooling(least_likely=True).generator(real_classifier=clean, fake_classifier=perturbed)
    assert clean.argmin(1).tolist() == vectors["target_label"].tolist()
    assert least.item() == pytest.approx(float(vectors["loss_history"][0]), rel=1e-6)


def test_the_public_codes_first_iterations_are_reproduced(parity):
    """Three steps of Adam on the least likely class, with the stand-in generator and classifier of the vectors."""
    vectors = parity("gap")
    make = nn.Conv2d(3, 3, 1).double()
    classify = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6))
    classify = classify.double()
    with torch.no_grad():
        make.weight.copy_(as_tensor(vectors["gen0_w_weight"]))
        make.bias.copy_(as_tensor(vectors["gen0_w_bias"]))
        classify[0].weight.copy_(as_tensor(vectors["clf_c_weight"]))
        classify[0].bias.copy_(as_tensor(vectors["clf_c_bias"]))
        classify[4].weight.copy_(as_tensor(vectors["clf_l_weight"]))
        classify[4].bias.copy_(as_tensor(vectors["clf_l_bias"]))
    image = as_tensor(vectors["image"])
    logits = classify(image).detach()
    torch.testing.assert_close(logits, as_tensor(vectors["logits_clean"]))
    noise = as_tensor(vectors["noise"]).expand(3, -1, -1, -1)
    optimizer = torch.optim.Adam(make.parameters(), lr=2e-4, betas=(0.5, 0.999))
    low, high = image.amin((0, 2, 3)).view(1, 3, 1, 1), image.amax((0, 2, 3)).view(1, 3, 1, 1)
    term, losses = Fooling(least_likely=True), []
    for _ in range(3):
        optimizer.zero_grad()
        delta = scaled_to_budget(make(noise / 255).tanh(), MEAN, 10 / 255, "linf") / STD
        loss = term.generator(real_classifier=logits, fake_classifier=classify(torch.clamp(image + delta, low, high)))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(losses, vectors["loss_history"], rtol=1e-9)
    torch.testing.assert_close(make.weight.detach(), as_tensor(vectors["gen3_w_weight"]), rtol=1e-9, atol=1e-12)


def test_fooling_has_aims_of_both_kinds():
    clean, perturbed = torch.randn(6, 4), torch.randn(6, 4)
    away = F.cross_entropy(perturbed, clean.argmax(1))
    to_two = F.cross_entropy(perturbed, torch.full((6,), 2))
    logits = {"real_classifier": clean, "fake_classifier": perturbed}
    torch.testing.assert_close(Fooling().generator(**logits), -away.log())
    torch.testing.assert_close(Fooling(log=False).generator(**logits), -away)
    torch.testing.assert_close(Fooling(target=2).generator(**logits), to_two.log())
    torch.testing.assert_close(Fooling(target=2, log=False).generator(**logits), to_two)


def test_fooling_counts_changed_decisions():
    term = Fooling()
    clean, perturbed = torch.eye(4), torch.eye(4)[[0, 1, 3, 2]]
    term.observe(real_classifier=clean, fake_classifier=perturbed)
    assert term.monitor()["fooling_rate"].item() == 0.5


def test_fooling_of_a_certain_classifier_stays_finite():
    certain = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    loss = Fooling().generator(real_classifier=certain.detach(), fake_classifier=certain)
    loss.backward()
    assert math.isfinite(loss.item())
    assert bool(certain.grad.isfinite().all())


def test_fooling_refuses_what_cannot_be():
    with pytest.raises(GancoreError, match="one aim"):
        Fooling(target=1, least_likely=True)
    with pytest.raises(GancoreError, match="classes 0 to 3"):
        Fooling(target=4).generator(real_classifier=torch.zeros(2, 4), fake_classifier=torch.zeros(2, 4))


def test_activation_maximization_is_the_mean_entropy():
    logits = torch.randn(5, 7, dtype=torch.float64)
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    value = ActivationMaximization().generator(fake_classifier=logits)
    assert value.item() == pytest.approx(float(-(p * np.log(p)).sum(1).mean()), rel=1e-12)
    sure = ActivationMaximization().generator(fake_classifier=100 * torch.eye(7))
    assert sure.item() == pytest.approx(0, abs=1e-6)


def test_activation_maximization_and_class_balance_pull_apart():
    """One per image sure, all classes equally often: the sum of both terms is least there (CBGAN section 4.3)."""
    from gancore_cbgan.class_balance import ClassBalance

    balance = ClassBalance(classes=4)

    def total(logits: Tensor) -> float:
        entropy = ActivationMaximization().generator(fake_classifier=logits)
        return float(entropy + 2 * balance.generator(fake_classifier=logits))

    balanced, one_class, unsure = 20 * torch.eye(4), 20 * torch.eye(4)[[0, 0, 0, 0]], torch.zeros(4, 4)
    assert total(balanced) < min(total(one_class), total(unsure))
