"""The loss terms of core: values and gradients against parity vectors, NumPy, and what the papers say must hold."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gancore_standard.losses import objectives
from gancore_standard.losses.classification import AuxiliaryClassifier, CrossEntropy, effective_number_weights
from gancore_standard.losses.objectives import (
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    RelativisticAverage,
    Wasserstein,
)
from gancore_standard.losses.penalties import GradientPenalty
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from gancore import GancoreError
from gancore.contract.settings import check

Parity = Callable[[str], dict[str, Any]]

OBJECTIVES = [Minimax, NonSaturating, Hinge, LeastSquares, Wasserstein, Relativistic, RelativisticAverage]
PAIRED = (Relativistic, RelativisticAverage)
FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}


class NoHostSync(TorchDispatchMode):
    """Fails on any operation that reads a tensor's value on the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(name in str(func) for name in ("_local_scalar_dense", "nonzero", "masked_select")), func
        return func(*args, **(kwargs or {}))


def logits(n: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(0.5, 2, n)), torch.from_numpy(random.normal(-0.5, 2, n))


def generator_loss(term: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    if isinstance(term, PAIRED):
        return term.generator(fake_adversarial=fake, real_adversarial=real)
    return term.generator(fake_adversarial=fake)


def attacked(term: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    if isinstance(term, PAIRED):
        return term.attacked(real_adversarial=real, fake_adversarial=fake)
    return term.attacked(real_adversarial=real)


# --- adversarial objectives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "name"), [(Relativistic(), "rel"), (NonSaturating(), "dcgan"), (Hinge(), "hinge"), (Wasserstein(), "wgan")]
)
def test_an_objective_equals_the_public_codes_in_value_and_gradient(term: nn.Module, name: str, parity: Parity) -> None:
    vectors = parity("cbgan_regularizer")
    real = torch.from_numpy(vectors["dr"]).requires_grad_()
    fake = torch.from_numpy(vectors["df"]).requires_grad_()
    loss = term.discriminator(real_adversarial=real, fake_adversarial=fake)
    np.testing.assert_allclose(loss.item(), vectors[f"loss_{name}_dis"], **FLOAT32)
    gradients = torch.autograd.grad(loss, [real, fake])
    np.testing.assert_allclose(gradients[0], vectors[f"loss_{name}_dis_grad_real"], **FLOAT32)
    np.testing.assert_allclose(gradients[1], vectors[f"loss_{name}_dis_grad_fake"], **FLOAT32)

    if name == "wgan":
        return  # The vectors hold no generator loss for it; the next test covers it.
    loss = generator_loss(term, real, fake)
    np.testing.assert_allclose(loss.item(), vectors[f"loss_{name}_gen"], **FLOAT32)
    (gradient,) = torch.autograd.grad(loss, fake)
    np.testing.assert_allclose(gradient, vectors[f"loss_{name}_gen_grad_fake"], **FLOAT32)


def s(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


WRITTEN_OUT: dict[type, tuple[Callable[[np.ndarray, np.ndarray], float], Callable[[np.ndarray, np.ndarray], float]]] = {
    Minimax: (
        lambda r, f: -np.log(s(r)).mean() - np.log(1 - s(f)).mean(),
        lambda _, f: np.log(1 - s(f)).mean(),
    ),
    NonSaturating: (
        lambda r, f: -np.log(s(r)).mean() - np.log(1 - s(f)).mean(),
        lambda _, f: -np.log(s(f)).mean(),
    ),
    Hinge: (
        lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(),
        lambda _, f: -f.mean(),
    ),
    LeastSquares: (
        lambda r, f: 0.5 * ((r - 1) ** 2).mean() + 0.5 * (f**2).mean(),
        lambda _, f: 0.5 * ((f - 1) ** 2).mean(),
    ),
    Wasserstein: (
        lambda r, f: f.mean() - r.mean(),
        lambda _, f: -f.mean(),
    ),
    Relativistic: (
        lambda r, f: -np.log(s(r - f)).mean(),
        lambda r, f: -np.log(s(f - r)).mean(),
    ),
    RelativisticAverage: (
        lambda r, f: -np.log(s(r - f.mean())).mean() - np.log(1 - s(f - r.mean())).mean(),
        lambda r, f: -np.log(s(f - r.mean())).mean() - np.log(1 - s(r - f.mean())).mean(),
    ),
}


def slopes(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-6) -> np.ndarray:
    result = np.empty_like(at)
    for i in range(len(at)):
        up, down = at.copy(), at.copy()
        up[i] += step
        down[i] -= step
        result[i] = (function(up) - function(down)) / (2 * step)
    return result


@pytest.mark.parametrize("cls", OBJECTIVES)
def test_an_objective_equals_its_equation_written_out_in_numpy(cls: type[nn.Module]) -> None:
    term = cls()
    real, fake = (x.requires_grad_() for x in logits())
    r, f = real.detach().numpy(), fake.detach().numpy()
    discriminator, generator = WRITTEN_OUT[cls]

    loss = term.discriminator(real_adversarial=real, fake_adversarial=fake)
    assert loss.shape == ()
    np.testing.assert_allclose(loss.item(), discriminator(r, f), rtol=1e-12)
    gradients = torch.autograd.grad(loss, [real, fake])
    np.testing.assert_allclose(gradients[0], slopes(lambda x: discriminator(x, f), r), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(gradients[1], slopes(lambda x: discriminator(r, x), f), rtol=1e-6, atol=1e-9)

    loss = generator_loss(term, real, fake)
    assert loss.shape == ()
    np.testing.assert_allclose(loss.item(), generator(r, f), rtol=1e-12)
    (gradient,) = torch.autograd.grad(loss, fake)
    np.testing.assert_allclose(gradient, slopes(lambda x: generator(r, x), f), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("cls", OBJECTIVES)
def test_an_attack_raises_the_part_of_the_discriminators_loss_that_depends_on_the_real_images(cls: type[nn.Module]) -> None:
    term = cls()
    real, fake = logits()
    other, _ = logits(seed=1)
    values, others = attacked(term, real, fake), attacked(term, other, fake)
    assert values.shape == real.shape
    if cls is RelativisticAverage:  # Its other half depends on the mean of the real logits, not on one image.
        expected = -np.log(s(real.numpy() - fake.numpy().mean()))
        np.testing.assert_allclose(values, expected, rtol=1e-12)
        return
    difference = term.discriminator(real_adversarial=real, fake_adversarial=fake) - term.discriminator(
        real_adversarial=other, fake_adversarial=fake
    )
    np.testing.assert_allclose((values.mean() - others.mean()).item(), difference.item(), rtol=1e-10)


@pytest.mark.parametrize("cls", OBJECTIVES)
def test_every_objective_wants_real_logits_up_fake_ones_down_and_the_generator_the_contrary(cls: type[nn.Module]) -> None:
    term = cls()
    real = torch.zeros(4, requires_grad=True)
    fake = torch.full((4,), 0.25, requires_grad=True)
    up, down = torch.autograd.grad(term.discriminator(real_adversarial=real, fake_adversarial=fake), [real, fake])
    assert (up < 0).all()
    assert (down > 0).all()
    (push,) = torch.autograd.grad(generator_loss(term, real, fake), fake)
    assert (push < 0).all()


@pytest.mark.parametrize("cls", OBJECTIVES)
@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_an_objective_stays_finite_at_any_logit(cls: type[nn.Module], size: float) -> None:
    term = cls()
    real = torch.full((3,), size, requires_grad=True)
    fake = torch.full((3,), -size, requires_grad=True)
    for loss in (term.discriminator(real_adversarial=real, fake_adversarial=fake), generator_loss(term, real, fake)):
        gradients = torch.autograd.grad(loss, [real, fake], allow_unused=True)
        assert loss.isfinite()
        assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("cls", [Minimax, NonSaturating])
def test_a_smoothed_target_is_the_optimum_of_real_logits_and_leaves_generated_ones_and_the_generator_alone(cls: type) -> None:
    """Salimans et al. 2016, section 3.4: the cross entropy of real images to 0.9, of generated ones to 0."""
    real, fake = (x.requires_grad_() for x in logits())
    loss = cls(real_target=0.9).discriminator(real_adversarial=real, fake_adversarial=fake)
    smoothed = F.binary_cross_entropy_with_logits(real, torch.full_like(real, 0.9))
    expected = smoothed + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    for one, other in zip(torch.autograd.grad(loss, [real, fake]), torch.autograd.grad(expected, [real, fake]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    optimum = torch.full((2,), float(np.log(9)), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(cls(real_target=0.9).attacked(real_adversarial=optimum).sum(), optimum)
    assert slope.abs().max() < 1e-12
    assert torch.equal(cls(real_target=0.9).generator(fake_adversarial=fake), cls().generator(fake_adversarial=fake))


def test_a_smoothed_target_of_least_squares_is_b() -> None:
    real, fake = logits()
    term = LeastSquares(real_target=0.75)
    loss = term.discriminator(real_adversarial=real, fake_adversarial=fake)
    assert loss.item() == pytest.approx((((real - 0.75) ** 2).mean() + (fake**2).mean()).item() / 2, rel=1e-12)
    assert torch.equal(term.attacked(real_adversarial=real), (real - 0.75) ** 2 / 2)
    assert torch.equal(term.generator(fake_adversarial=fake), LeastSquares().generator(fake_adversarial=fake))


@pytest.mark.parametrize("target", [0, 1.5, -1])
def test_a_target_that_is_no_probability_is_refused(target: float) -> None:
    with pytest.raises(GancoreError, match="real_target must be a number"):
        check(Minimax, {"real_target": target}, where="losses.adversarial", context={})


def test_the_saturating_generator_stalls_where_the_non_saturating_one_pushes() -> None:
    fake = torch.full((1,), -20.0, requires_grad=True)
    (saturating,) = torch.autograd.grad(Minimax().generator(fake_adversarial=fake), fake)
    (pushing,) = torch.autograd.grad(NonSaturating().generator(fake_adversarial=fake), fake)
    assert abs(saturating.item()) < 1e-8
    assert pushing.item() == pytest.approx(-1)


def test_the_relativistic_loss_refuses_logits_that_it_cannot_pair() -> None:
    with pytest.raises(GancoreError, match=r"one to one.*\(4,\).*\(3,\)"):
        Relativistic().discriminator(real_adversarial=torch.zeros(4), fake_adversarial=torch.zeros(3))
    with pytest.raises(GancoreError, match="one to one"):
        Relativistic().generator(real_adversarial=torch.zeros(4), fake_adversarial=torch.zeros(1))


def test_the_relativistic_average_loss_needs_no_pairs() -> None:
    term = RelativisticAverage()
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.5])
    loss = term.discriminator(real_adversarial=real, fake_adversarial=fake)
    expected = WRITTEN_OUT[RelativisticAverage][0](real.numpy(), fake.numpy())
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_relativistic_average_loss_over_two_processes_has_the_gradient_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = (x.requires_grad_() for x in logits(8))
    term = RelativisticAverage()
    expected = [
        torch.autograd.grad(term.discriminator(real_adversarial=real, fake_adversarial=fake), [real, fake]),
        torch.autograd.grad(term.generator(real_adversarial=real, fake_adversarial=fake), [real, fake]),
    ]

    # Threads stand in for the processes: a collective leaves each one's value in its slot, and waits for the other.
    slots: dict[int, Tensor] = {}
    barrier = threading.Barrier(2, timeout=60)
    own = threading.local()

    def global_mean(value: Tensor) -> Tensor:
        slots[own.rank] = value.detach()
        barrier.wait()
        mean = (slots[0] + slots[1]) / 2
        barrier.wait()
        return mean + (value - value.detach())

    monkeypatch.setattr(objectives, "global_mean", global_mean)
    gradients: dict[int, list[tuple[Tensor, ...]]] = {}

    def work(rank: int) -> None:
        own.rank = rank
        r = real.detach()[rank * 4 : rank * 4 + 4].requires_grad_()
        f = fake.detach()[rank * 4 : rank * 4 + 4].requires_grad_()
        gradients[rank] = [
            torch.autograd.grad(term.discriminator(real_adversarial=r, fake_adversarial=f), [r, f]),
            torch.autograd.grad(term.generator(real_adversarial=r, fake_adversarial=f), [r, f]),
        ]

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for phase in range(2):
        for which in range(2):
            # Gradients are averaged over processes, hence the half.
            joined = torch.cat([gradients[0][phase][which], gradients[1][phase][which]]) / 2
            torch.testing.assert_close(joined, expected[phase][which], rtol=1e-12, atol=1e-14)


def test_the_clip_of_wgan_bounds_the_critics_weights_and_leaves_the_generators_alone() -> None:
    weights = [torch.tensor([-3.0, 0.005, 2.0], requires_grad=True)]
    term = Wasserstein(clip=0.01)
    term.project("generator", weights)
    assert weights[0].tolist() == [-3.0, pytest.approx(0.005), 2.0]
    Wasserstein().project("discriminator", weights)
    assert weights[0].tolist() == [-3.0, pytest.approx(0.005), 2.0]
    term.project("discriminator", weights)
    assert weights[0].tolist() == pytest.approx([-0.01, 0.005, 0.01])


def test_the_clip_of_wgan_must_be_above_0() -> None:
    assert check(Wasserstein, {"clip": 0.01}, where="here") == {"clip": 0.01}
    with pytest.raises(GancoreError, match="above 0"):
        check(Wasserstein, {"clip": 0}, where="here")


# --- gradient penalties -------------------------------------------------------------------------------------------------


class Critic(nn.Module):
    """The stand-in critic of the parity vectors, with their weights."""

    def __init__(self, vectors: dict[str, Any]) -> None:
        super().__init__()
        self.c = nn.Conv2d(2, 3, 3, padding=1, dtype=torch.float64)
        self.l = nn.Linear(48, 1, dtype=torch.float64)
        self.load_state_dict({k: torch.from_numpy(vectors[f"w_{k.replace('.', '_')}"]) for k in self.state_dict()})

    def forward(self, x: Tensor) -> Tensor:
        return self.l(self.c(x).tanh().flatten(1)).flatten()


@pytest.mark.parametrize("one_sided", [False, True], ids=["gp", "lp"])
@pytest.mark.parametrize("convention", ["real_plus_alpha_times_fake_minus_real", "alpha_real_plus_1malpha_fake"])
def test_the_penalty_equals_the_public_codes_in_value_and_gradient(parity: Parity, convention: str, one_sided: bool) -> None:
    vectors = parity("wgan_penalties")
    critic = Critic(vectors)
    real, fake = torch.from_numpy(vectors["real"]), torch.from_numpy(vectors["fake"])
    share = torch.from_numpy(vectors["alpha"])[:, None, None, None]
    if convention == "alpha_real_plus_1malpha_fake":
        share = 1 - share
    mixed = (real + share * (fake - real)).requires_grad_()
    penalty = GradientPenalty(one_sided=one_sided).discriminator(mixed_view=mixed, mixed_adversarial=critic(mixed))
    name = f"{convention}_{'lp' if one_sided else 'gp'}"
    np.testing.assert_allclose(penalty.item(), vectors[name], rtol=1e-9)
    (gradient,) = torch.autograd.grad(penalty, critic.c.weight)
    np.testing.assert_allclose(gradient, vectors[f"{name}_grad_conv_w"], rtol=1e-9, atol=1e-12)


def test_the_penalty_of_a_linear_critic_follows_from_the_length_of_its_weights() -> None:
    # D(x) = <a_i, x> with |a_i| = 0.5, 2, 1: (0.25 + 1 + 0) / 3 two-sided, (0 + 1 + 0) / 3 one-sided.
    a = torch.tensor([[0.3, 0.4], [0.0, 2.0], [0.6, 0.8]], dtype=torch.float64).reshape(3, 1, 1, 2)
    view = torch.zeros(3, 1, 1, 2, dtype=torch.float64, requires_grad=True)

    def penalty(**settings: Any) -> float:
        values = (a * view).sum((1, 2, 3))
        return GradientPenalty(**settings).discriminator(mixed_view=view, mixed_adversarial=values).item()

    assert penalty() == pytest.approx(1.25 / 3)
    assert penalty(one_sided=True) == pytest.approx(1 / 3)
    assert penalty(center=0.0) == pytest.approx((0.25 + 4 + 1) / 3)
    assert penalty(center=2.0, one_sided=True) == pytest.approx(0)


def test_the_penalty_of_a_critic_with_no_slope_has_a_finite_gradient() -> None:
    weight = torch.zeros(4, requires_grad=True)
    view = torch.ones(2, 1, 2, 2, requires_grad=True)
    penalty = GradientPenalty().discriminator(mixed_view=view, mixed_adversarial=view.flatten(1) @ weight)
    assert penalty.item() == 1
    (gradient,) = torch.autograd.grad(penalty, weight)
    assert gradient.isfinite().all()


def test_interpolation_draws_one_share_per_image_from_the_generator_it_is_given() -> None:
    term = GradientPenalty()
    real, fake = torch.zeros(64, 3, 4, 4), torch.full((64, 3, 4, 4), 2.0)
    mixed = term.interpolate(real_view=real, fake_view=fake, noise=torch.Generator().manual_seed(3))
    again = term.interpolate(real_view=real, fake_view=fake, noise=torch.Generator().manual_seed(3))
    expected = torch.rand(64, generator=torch.Generator().manual_seed(3)) * 2
    assert torch.equal(mixed, again)
    assert torch.equal(mixed, expected[:, None, None, None].expand_as(mixed))
    other = term.interpolate(real_view=fake, fake_view=fake, noise=torch.Generator().manual_seed(3))
    assert torch.equal(other, fake)


def test_the_penalty_asks_core_for_a_view_of_its_own() -> None:
    assert dict(GradientPenalty.extra_views) == {"mixed": "interpolate"}
    assert set(GradientPenalty.differentiates) == {"mixed_view"}


# --- classification -----------------------------------------------------------------------------------------------------


def written_out_cross_entropy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.log(np.exp(x).sum(1)) - x[np.arange(len(y)), y]


def test_the_auxiliary_classifier_weighs_real_and_fake_images() -> None:
    random = np.random.default_rng(5)
    real, fake = random.normal(size=(6, 4)), random.normal(size=(6, 4))
    y, y_fake = np.array([0, 1, 2, 3, 0, 1]), np.array([3, 3, 2, 1, 0, 2])
    term = AuxiliaryClassifier(real=2.0, fake=0.5, generator=0.1)
    images = {"real_classes": torch.from_numpy(real), "real_label": torch.from_numpy(y)}
    generated = {"fake_classes": torch.from_numpy(fake), "fake_label": torch.from_numpy(y_fake)}
    on_real, on_fake = written_out_cross_entropy(real, y), written_out_cross_entropy(fake, y_fake)
    assert term.discriminator(**images, **generated).item() == pytest.approx(2 * on_real.mean() + 0.5 * on_fake.mean())
    assert term.generator(**generated).item() == pytest.approx(0.1 * on_fake.mean())
    np.testing.assert_allclose(term.attacked(**images), 2 * on_real)


def test_the_split_auxiliary_classifier_learns_nothing_from_generated_images() -> None:
    real = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([0, 1, 2])
    fake = torch.full((3, 4), float("inf"))  # Would spoil the loss if it were looked at.
    loss = AuxiliaryClassifier(fake=0.0).discriminator(real_classes=real, real_label=label, fake_classes=fake, fake_label=label)
    assert torch.equal(loss, F.cross_entropy(real, label))


@pytest.mark.parametrize(("loss", "name"), [("cross_entropy", "ce"), ("focal", "focal1"), ("ldam", "ldam")])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "drw"])
def test_a_classification_loss_equals_the_public_codes(parity: Parity, loss: Any, name: str, weighted: bool) -> None:
    vectors = parity("ldam_drw")
    term = CrossEntropy(class_counts=vectors["cls_num_list"].tolist(), loss=loss, drw_start=160)
    x = torch.from_numpy(vectors["logits"]).requires_grad_()
    value = term.classifier(
        real_classifier=x, real_label=torch.from_numpy(vectors["target"]), iteration=torch.tensor(160 if weighted else 159)
    )
    name += "_drw" if weighted else "_none"
    np.testing.assert_allclose(value.item(), vectors[f"loss_{name}"], **FLOAT32)
    (gradient,) = torch.autograd.grad(value, x)
    np.testing.assert_allclose(gradient, vectors[f"grad_{name}"], **FLOAT32)


def test_class_weights_by_effective_number_equal_the_public_codes(parity: Parity) -> None:
    vectors = parity("ldam_drw")
    for counts, expected in [
        ("cls_num_list", "drw_w_epoch160"),
        ("cls_num_list_rho10", "drw_w_rho10_epoch160"),
    ]:
        weights = effective_number_weights(vectors[counts].tolist(), 0.9999)
        np.testing.assert_allclose(weights, vectors[expected], rtol=1e-9)
    np.testing.assert_allclose(effective_number_weights(vectors["cls_num_list"].tolist(), 0.0), vectors["drw_w_epoch0"])


def test_class_weights_reach_from_equal_to_inverse_counts_and_have_mean_1() -> None:
    counts = [1, 10, 100, 1000]
    np.testing.assert_allclose(effective_number_weights(counts, 0.0), np.ones(4))
    inverse = 1 / np.array(counts)
    np.testing.assert_allclose(effective_number_weights(counts, 1 - 1e-12), inverse / inverse.mean(), rtol=1e-6)
    assert effective_number_weights(counts, 0.99).mean().item() == pytest.approx(1)


def test_without_a_start_the_classes_are_never_re_weighted() -> None:
    x, y = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    term = CrossEntropy(class_counts=[100, 10, 1])
    loss = term.classifier(real_classifier=x, real_label=y, iteration=torch.tensor(10**9))
    assert torch.equal(loss, F.cross_entropy(x, y))


def test_the_focal_loss_equals_its_equation_for_other_exponents() -> None:
    random = np.random.default_rng(2)
    x, y = random.normal(size=(7, 3)), np.array([0, 1, 2, 0, 1, 2, 2])
    p = np.exp(-written_out_cross_entropy(x, y))
    for gamma in (0.0, 0.5, 2.0):
        term = CrossEntropy(class_counts=[5, 5, 5], loss="focal", gamma=gamma)
        loss = term.classifier(real_classifier=torch.from_numpy(x), real_label=torch.from_numpy(y), iteration=torch.tensor(0))
        assert loss.item() == pytest.approx(((1 - p) ** gamma * -np.log(p)).mean(), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_the_focal_loss_of_a_perfectly_sure_classifier_has_a_finite_gradient(gamma: float) -> None:
    x = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    term = CrossEntropy(class_counts=[5, 5], loss="focal", gamma=gamma)
    loss = term.classifier(real_classifier=x, real_label=torch.tensor([0, 0]), iteration=torch.tensor(0))
    (gradient,) = torch.autograd.grad(loss, x)
    assert gradient.isfinite().all()


def test_the_margin_is_largest_for_the_rarest_class(parity: Parity) -> None:
    vectors = parity("ldam_drw")
    term = CrossEntropy(class_counts=vectors["cls_num_list"].tolist(), loss="ldam")
    np.testing.assert_allclose(term.margins, vectors["ldam_margins"], rtol=1e-6)
    assert term.margins.argmax().item() == 9
    assert term.margins.max().item() == pytest.approx(0.5)


def test_a_class_without_images_is_refused_where_it_would_divide_by_zero() -> None:
    for settings in ({"loss": "ldam"}, {"drw_start": 5}):
        with pytest.raises(GancoreError, match="class 1, 3 has no training images"):
            CrossEntropy(class_counts=[3, 0, 2, 0], **settings)
    CrossEntropy(class_counts=[3, 0, 2, 0])


def test_a_classifier_with_another_number_of_classes_is_refused() -> None:
    term = CrossEntropy(class_counts=[3, 4], drw_start=0)
    with pytest.raises(GancoreError, match="has 3 classes, but the training images have 2"):
        term.classifier(real_classifier=torch.zeros(1, 3), real_label=torch.tensor([0]), iteration=torch.tensor(0))


def test_a_misspelled_classification_loss_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(GancoreError, match="did you mean 'focal'"):
        check(CrossEntropy, {"loss": "focl"}, where="here", context={"class_counts": [1]})


# --- promises -----------------------------------------------------------------------------------------------------------


def test_no_term_reads_a_value_on_the_host() -> None:
    real, fake = logits(4)
    label = torch.tensor([0, 1, 2, 0])
    view = torch.randn(4, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    iteration = torch.tensor(3)
    classes = torch.randn(4, 3)
    with NoHostSync():
        for cls in OBJECTIVES:
            term = cls()
            term.discriminator(real_adversarial=real, fake_adversarial=fake)
            generator_loss(term, real, fake)
            attacked(term, real, fake)
        penalty = GradientPenalty(one_sided=True)
        penalty.interpolate(real_view=view, fake_view=view, noise=torch.Generator())
        penalty.discriminator(mixed_view=view, mixed_adversarial=view.square().sum((1, 2, 3)))
        head = {"real_classes": classes, "real_label": label}
        AuxiliaryClassifier().discriminator(**head, fake_classes=classes, fake_label=label)
        AuxiliaryClassifier().attacked(**head)
    for loss in ("cross_entropy", "focal", "ldam"):
        term = CrossEntropy(class_counts=[9, 3, 1], loss=loss, drw_start=2)
        with NoHostSync():
            term.classifier(real_classifier=classes, real_label=label, iteration=iteration)
