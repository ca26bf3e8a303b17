"""The constraints and the semi-supervised critic: parity with the authors' code, and computations of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gancore_sobolevgan.constraints import Fisher, Sobolev, SobolevBetween
from gancore_sobolevgan.multipliers import Multiplier
from gancore_sobolevgan.semi_supervised import SemiSupervised
from torch import Tensor, nn
from torch.nn import functional as F

from gancore import GancoreError
from tests.compose.hosts import run_of

Load = Callable[[str], dict[str, Any]]

LABELED = {"labelled_classes": torch.zeros(1, 4, dtype=torch.float64), "labelled_label": torch.zeros(1, dtype=torch.int64)}


class Critic:
    """The critic of the parity vectors: tanh features, S, and v."""

    def __init__(self, vectors: dict[str, Any]) -> None:
        self.weights = {key: torch.from_numpy(value) for key, value in vectors.items() if key.startswith("w_")}
        self.weights["w_a_weight"].requires_grad_()

    def features(self, x: Tensor) -> Tensor:
        return torch.tanh(F.linear(x, self.weights["w_a_weight"], self.weights["w_a_bias"]))

    def side(self, name: str, x: Tensor) -> dict[str, Tensor]:
        features = self.features(x)
        classes, v = F.linear(features, self.weights["w_S_weight"]), F.linear(features, self.weights["w_V_weight"])
        return {f"{name}_view": x, f"{name}_classes": classes, f"{name}_adversarial": -v.squeeze(1)}


def both(vectors: dict[str, Any], critic: Critic) -> dict[str, Tensor]:
    sides = {name: torch.from_numpy(vectors[f"x_{name}"]).requires_grad_() for name in ("real", "fake")}
    return {**critic.side("real", sides["real"]), **critic.side("fake", sides["fake"])}


@pytest.mark.parametrize(("critic", "name"), [("logits", "Kp1"), ("log-probabilities", "Kp1_plogp")])
def test_the_semi_supervised_objective_agrees_with_the_authors_code(parity: Load, critic: Any, name: str) -> None:
    vectors = parity("sobolev")
    network = Critic(vectors)
    tensors = both(vectors, network)
    term = SemiSupervised(critic=critic, rho_fisher=float(vectors["rhoF"]), rho_sobolev=float(vectors["rhoS"]), supervised=0.0)
    term = term.double()
    term.fisher.value.fill_(float(vectors["lambdaF"]))
    term.sobolev.value.fill_(float(vectors["lambdaS"]))

    def close(value: Tensor, key: str) -> None:
        torch.testing.assert_close(value, torch.as_tensor(vectors[f"{name}_{key}"]).view_as(value), rtol=1e-9, atol=1e-12)

    for side in ("real", "fake"):
        close(term.critic(tensors[f"{side}_classes"], tensors[f"{side}_adversarial"]), f"f_{side}")
    loss, violations = term.discriminator(**tensors, **LABELED)
    close(-loss, "objD")
    close(violations["fisher"], "cF")
    close(violations["sobolev"], "cS")
    (gradient,) = torch.autograd.grad(loss, network.weights["w_a_weight"])
    # Whether of the loss or of the objective, whose sign is turned, is the vectors' own choice.
    expected = torch.from_numpy(vectors[f"{name}_grad_a_w"])
    torch.testing.assert_close(gradient, expected * torch.sign((gradient * expected).sum()), rtol=1e-9, atol=1e-10)
    close(term.generator(fake_classes=tensors["fake_classes"], fake_adversarial=tensors["fake_adversarial"]), "G_loss")
    term.observe(fisher=violations["fisher"].detach(), sobolev=violations["sobolev"].detach())
    close(term.fisher.value, "lambdaF_next")
    close(term.sobolev.value, "lambdaS_next")
    before = term.fisher.value.clone()
    term.observe()  # the generator's turn
    assert torch.equal(term.fisher.value, before)


def test_the_labeled_images_enter_by_their_weight() -> None:
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, generator=noise).requires_grad_()
    side = {"view": x, "classes": x @ torch.randn(3, 4, generator=noise), "adversarial": x.sum(1)}
    tensors = {f"{name}_{key}": value for name in ("real", "fake") for key, value in side.items()}
    logits, label = torch.randn(2, 4, generator=noise), torch.tensor([1, 3])
    losses = [
        SemiSupervised(supervised=weight).discriminator(**tensors, labelled_classes=logits, labelled_label=label)[0]
        for weight in (0.0, 1.5)
    ]
    expected = -1.5 * logits.log_softmax(1)[torch.arange(2), label].mean()
    torch.testing.assert_close(losses[1] - losses[0], expected)


def test_the_constraints_agree_with_derivatives_written_out() -> None:
    """Of f(x) = a x + b x^2 / 2 in each coordinate, whose gradient is a + b x."""
    noise = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(n, 3, 1, 1, dtype=torch.float64, generator=noise) for n in (4, 6))
    gradients = {name: 0.7 + 0.4 * x for name, x in (("real", real), ("fake", fake))}

    def f(x: Tensor) -> Tensor:
        return (0.7 * x + 0.2 * x.square()).flatten(1).sum(1)

    views = {"real_view": real.requires_grad_(), "fake_view": fake.requires_grad_()}
    logits = {"real_adversarial": f(real), "fake_adversarial": f(fake)}
    term = Sobolev(rho=0.6).double()
    term.multiplier.value.fill_(0.25)
    loss, rest = term.discriminator(**views, **logits)
    c = sum(x.detach().square().flatten(1).sum(1).mean() / 2 for x in gradients.values()) - 1
    torch.testing.assert_close(rest["violation"], c)
    torch.testing.assert_close(loss, 0.25 * c + 0.3 * c.square())
    term.observe(violation=rest["violation"])
    torch.testing.assert_close(term.monitor()["multiplier"], 0.25 + 0.6 * c)
    _, rest = Fisher().double().discriminator(**logits)
    second = (f(real).square().mean() + f(fake).square().mean()) / 2 - 1
    torch.testing.assert_close(rest["violation"], second)


def test_the_measure_between_the_sides_is_blends_of_both() -> None:
    real, fake = torch.zeros(500, 1, 2, 2), torch.ones(500, 1, 2, 2)
    term = SobolevBetween()
    mixed = term.interpolate(real_view=real, fake_view=fake, noise=torch.Generator().manual_seed(0))
    shares = mixed[:, 0, 0, 0]
    assert torch.equal(mixed, shares.view(-1, 1, 1, 1).expand_as(mixed))
    assert float(shares.min()) < 0.02
    assert float(shares.max()) > 0.98
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.05)
    leaf = mixed.clone().requires_grad_()
    _, rest = term.discriminator(mixed_view=leaf, mixed_adversarial=3 * leaf.flatten(1).sum(1))
    assert rest["violation"].item() == pytest.approx(4 * 9 - 1)


def test_multipliers_find_the_constrained_optimum() -> None:
    """The longest (1, 1) w with |w|^2 = 1: w = (1, 1) / sqrt 2, whose multiplier is 1 / sqrt 2."""
    w, multiplier = nn.Parameter(torch.tensor([0.3, 0.1])), Multiplier(0.5)
    optimizer = torch.optim.SGD([w], lr=0.05)
    for step in range(3000):
        optimizer.zero_grad()
        violation = w.square().sum() - 1
        (multiplier(violation) - w.sum()).backward()
        optimizer.step()
        if step % 20 == 0:
            multiplier.update(violation.detach())
    torch.testing.assert_close(w.detach(), torch.full((2,), 0.5**0.5), rtol=1e-3, atol=1e-3)
    assert multiplier.value.item() == pytest.approx(0.5**0.5, rel=1e-2)


@pytest.mark.parametrize("term", ["sobolev", "sobolev-between", "fisher"])
def test_a_run_is_held_to_a_constraint(term: str) -> None:
    """The violation of a critic that is far too steep, or too large, comes near 0."""
    losses = {"adversarial": {"use": "standard/wasserstein"}, "held": {"use": f"sobolevgan/{term}", "rho": 0.1}}
    run = run_of({"losses": losses, "optimizers": {"discriminator": {"use": "adam", "lr": 5e-3}}})
    with torch.no_grad():
        for parameter in run.players["discriminator"].parameters:
            parameter.mul_(4)
    violations = []
    observe = run.terms["held"].observe  # type: ignore[attr-defined]

    def noted(*, violation: Tensor) -> None:
        violations.append(violation.item())
        observe(violation=violation)

    run.terms["held"].observe = noted  # type: ignore[attr-defined, assignment]
    for _ in range(150):
        run.phase("discriminator", run.fresh())
    assert violations[0] > 2
    assert abs(sum(violations[-20:])) / 20 < violations[0] / 4


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"use": "sobolevgan/sobolev", "rho": 0.0}, "rho must be a number above 0"),
    ({"use": "sobolevgan/semi-supervised"}, "asks for 'fake_classes'.*heads.classes"),
    ({"use": "sobolevgan/semi-supervised", "critic": "entropy"}, "critic"),
]


@pytest.mark.parametrize(("table", "words"), WRONG)
def test_what_cannot_be_is_refused(table: dict[str, Any], words: str) -> None:
    with pytest.raises(GancoreError, match=words):
        run_of({"losses": {"tested": table}})
