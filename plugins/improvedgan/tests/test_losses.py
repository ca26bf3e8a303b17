"""Losses and heads: parity with the authors' code, independent computations, gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gancore_improvedgan.heads import Closeness, Minibatch, MinibatchClasses
from gancore_improvedgan.losses import FeatureMatching, HistoricalAveraging, SemiSupervised
from torch import Tensor
from torch.nn import functional as F

Load = Callable[[str], dict[str, Any]]


@pytest.fixture
def vectors(parity: Load) -> dict[str, Tensor]:
    return {name: torch.as_tensor(value) for name, value in parity("improved_mgan_ssl").items()}


def closeness_of(vectors: dict[str, Tensor]) -> Closeness:
    features, kernels, width = vectors["mb_theta"].shape
    layer = Closeness(features, kernels, width, 1.0).double()
    with torch.no_grad():
        layer.theta.copy_(vectors["mb_theta"])
        layer.log_length.copy_(vectors["mb_log_weight_scale"])
        layer.bias.copy_(vectors["mb_b"])
    return layer


def test_minibatch_discrimination_agrees_with_the_authors_code(vectors: dict[str, Tensor]) -> None:
    torch.testing.assert_close(closeness_of(vectors)(vectors["mb_x"]), vectors["mb_out"], rtol=1e-9, atol=1e-9)


def test_closeness_is_the_papers_sum_over_the_other_images() -> None:
    torch.manual_seed(0)
    layer, x = Closeness(7, 4, 3, 0.5).double(), torch.randn(5, 7, dtype=torch.float64)
    torch.testing.assert_close(layer.log_length.exp(), torch.full((4, 3), 0.5, dtype=torch.float64), rtol=1e-6, atol=0)
    theta = layer.theta.detach().numpy()
    matrix = np.einsum("if,fbc->ibc", x.numpy(), theta / np.sqrt((theta**2).sum(0)) * 0.5)
    expected = [
        [sum(np.exp(-np.abs(matrix[i, b] - matrix[j, b]).sum()) for j in range(5) if j != i) - 1 for b in range(4)]
        for i in range(5)
    ]
    np.testing.assert_allclose(layer(x)[:, 7:].detach(), expected, rtol=1e-6)
    assert torch.equal(layer(x)[:, :7], x)
    assert torch.autograd.gradcheck(layer, x.requires_grad_())
    # Two equal images are as close as can be, and one alone is close to none.
    torch.testing.assert_close(layer(x[:1].expand(2, -1))[:, 7:], torch.zeros(2, 4, dtype=torch.float64))
    torch.testing.assert_close(layer(x[:1])[:, 7:], torch.full((1, 4), -1.0, dtype=torch.float64))


def test_the_heads_are_linear_in_features_and_closeness() -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(6, 5), torch.zeros(6, dtype=torch.int64)
    one, many = Minibatch(features=5, kernels=3, width=2), MinibatchClasses(features=5, classes=4, kernels=3, width=2)
    torch.testing.assert_close(one(features, labels), one.linear(one.closeness(features)).squeeze(1))
    torch.testing.assert_close(many(features, labels), many.linear(many.closeness(features)))
    assert (one(features, labels).shape, many(features, labels).shape) == ((6,), (6, 4))
    # A batch that has collapsed is told from one that has not, although its images are among the other's.
    assert not torch.allclose(one(features, labels)[:1], one(features[:1].expand(6, -1), labels)[:1])


def test_the_semi_supervised_loss_agrees_with_the_authors_code(vectors: dict[str, Tensor]) -> None:
    arguments = {
        "labelled_classes": vectors["ssl_lab"],
        "labelled_label": vectors["ssl_y"],
        "real_classes": vectors["ssl_unl"],
        "fake_classes": vectors["ssl_gen"],
    }
    labeled = SemiSupervised(adversarial=0.0).discriminator(**arguments)
    assert labeled.item() == pytest.approx(vectors["ssl_loss_lab"].item(), rel=1e-9)
    for weight in (1.0, 3.0):
        whole = SemiSupervised(adversarial=weight).discriminator(**arguments)
        assert (whole - labeled).item() == pytest.approx(weight * vectors["ssl_loss_unl"].item(), rel=1e-9)
    generator = SemiSupervised().generator(fake_classes=vectors["ssl_gen"])
    assert generator.item() == pytest.approx(vectors["ssl_gen_minibatch_loss"].item(), rel=1e-9)


def test_the_further_class_has_the_logit_0() -> None:
    """Section 5 with an explicit class K + 1; the authors' code halves what is not labeled."""
    labeled, real, fake = torch.randn(3, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    log_p = [F.log_softmax(F.pad(logits, (0, 1)), 1) for logits in (real, fake)]
    known = torch.log1p(-log_p[0][:, -1].exp()).mean()
    loss = SemiSupervised().discriminator(labelled_classes=labeled, labelled_label=labels, real_classes=real, fake_classes=fake)
    expected = F.cross_entropy(labeled, labels) - known / 2 - log_p[1][:, -1].mean() / 2
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(SemiSupervised().generator(fake_classes=fake), log_p[1][:, -1].mean(), rtol=1e-9, atol=0)


def test_feature_matching_agrees_with_the_authors_code(vectors: dict[str, Tensor]) -> None:
    sides = {"real_features": vectors["fm_real"], "fake_features": vectors["fm_fake"]}
    assert FeatureMatching().generator(**sides).item() == pytest.approx(vectors["fm_l1"].item(), rel=1e-9)
    squared = FeatureMatching(distance="squared").generator(**sides)
    assert squared.item() == pytest.approx(vectors["fm_l2"].item(), rel=1e-9)
    difference = sides["real_features"].mean(0) - sides["fake_features"].mean(0)
    assert squared.item() == pytest.approx(difference.square().sum().item() / 5, rel=1e-9)


def walked(turns: int) -> tuple[HistoricalAveraging, list[Tensor], list[Tensor]]:
    """A term after some turns of the generator, its parameters, and the values that they had, flat."""
    rng = torch.Generator().manual_seed(0)
    parameters = [torch.randn(3, 2, generator=rng).requires_grad_(), torch.randn(4, generator=rng).requires_grad_()]
    term = HistoricalAveraging()
    term.prepare(player="generator", parameters=parameters)
    past = [torch.cat([each.detach().flatten() for each in parameters])]
    for _ in range(turns):
        for parameter in parameters:
            parameter.data += torch.randn(parameter.shape, generator=rng)
        with torch.no_grad():
            term.observe(player="generator", parameters=parameters)
        past.append(torch.cat([each.detach().flatten() for each in parameters]))
    return term, parameters, past


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_historical_averaging_is_the_distance_to_the_mean_of_all_past_parameters(turns: int) -> None:
    term, parameters, past = walked(turns)
    loss = term.generator(parameters=parameters)
    mean = torch.stack(past).mean(0)
    torch.testing.assert_close(loss, (past[-1] - mean).square().sum(), rtol=1e-5, atol=1e-6)
    gradients = torch.cat([each.flatten() for each in torch.autograd.grad(loss, parameters)])
    torch.testing.assert_close(gradients, 2 * (past[-1] - mean), rtol=1e-5, atol=1e-6)


def test_the_past_begins_where_the_loss_does() -> None:
    parameters = [torch.randn(3, 2, dtype=torch.float64).requires_grad_()]
    term = HistoricalAveraging()
    term.prepare(player="generator", parameters=parameters)
    with torch.no_grad():
        parameters[0] += 5
    assert term.generator(parameters=parameters).item() == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        parameters[0] += 2
        term.observe(player="generator", parameters=parameters)
    # The mean is halfway between the two, 1 away from each of six numbers.
    assert term.generator(parameters=parameters).item() == pytest.approx(6)


def test_the_means_of_both_players_are_apart() -> None:
    term, parameters, _ = walked(3)
    other = [torch.zeros(2, requires_grad=True)]
    before = term.generator(parameters=parameters)
    term.prepare(player="discriminator", parameters=other)
    other[0].data += 1.0
    with torch.no_grad():
        term.observe(player="discriminator", parameters=other)
    assert torch.equal(term.generator(parameters=parameters), before)
    # The mean of 0 and 1 is 1/2, so each of two parameters is 1/2 away.
    assert term.discriminator(parameters=other).item() == pytest.approx(2 * 0.25)


def played(weight: float, turns: int = 3000) -> Tensor:
    """How far two players of the game x y, who take turns by gradient descent, are from its equilibrium at 0."""
    x, y = (torch.tensor([1.0], requires_grad=True) for _ in range(2))
    term = HistoricalAveraging()
    term.prepare(player="discriminator", parameters=[x])
    term.prepare(player="generator", parameters=[y])
    for _ in range(turns):
        for player, own, sign in (("discriminator", x, -1.0), ("generator", y, 1.0)):
            loss = sign * (x * y).sum() + weight * getattr(term, player)(parameters=[own])
            (gradient,) = torch.autograd.grad(loss, own)
            own.data -= 0.05 * gradient
            with torch.no_grad():
                term.observe(player=player, parameters=[own])
    return torch.cat([x, y]).detach().norm()


def test_players_who_circle_an_equilibrium_find_it_by_historical_averaging() -> None:
    """Section 3.3: an equilibrium of a low-dimensional game where gradient descent goes round for ever."""
    assert played(0.0) > 1
    assert played(0.1) < 0.01
