"""The consistency terms, the memory, the critics and the score: parity, independent computations, gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gancore_ctwgan.ensembling import TemporalEnsembling, fingerprints
from gancore_ctwgan.losses import ClassConsistency, Consistency
from gancore_ctwgan.networks import Critic, DropoutLinear, ResNetCritic
from torch import Tensor, nn
from torch.nn import functional as F

from gancore import GancoreError

Load = Callable[[str], dict[str, Any]]


def passes(vectors: dict[str, Any]) -> dict[str, Tensor]:
    names = {"real_adversarial": "d1", "second_adversarial": "d2", "real_features": "f1", "second_features": "f2"}
    return {name: torch.as_tensor(vectors[f"ct_{short}"]) for name, short in names.items()}


@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_the_consistency_term_agrees_with_the_authors_code(margin: float, parity: Load) -> None:
    vectors = parity("wgan_penalties")
    loss, _ = Consistency(margin=margin).discriminator(**passes(vectors))
    assert loss.item() == pytest.approx(float(vectors[f"ct_lambda2_2_M{margin}"]), rel=1e-9)


def test_the_consistency_term_is_the_mean_excess_of_each_images_distances() -> None:
    rng = torch.Generator().manual_seed(0)
    first, second = (torch.randn(5, dtype=torch.float64, generator=rng) for _ in range(2))
    one, two = (torch.randn(5, 3, dtype=torch.float64, generator=rng) for _ in range(2))
    term = Consistency(strength=3.0, features=0.5, margin=1.0)
    loss, kept = term.discriminator(real_adversarial=first, second_adversarial=second, real_features=one, second_features=two)
    distances = [(first[i] - second[i]) ** 2 + 0.5 * sum((one[i] - two[i]) ** 2) / 3 for i in range(5)]
    assert loss.item() == pytest.approx(sum(max(0.0, 3 * float(d) - 1) for d in distances) / 5, rel=1e-12)
    assert kept["largest"].item() == pytest.approx(max(map(float, distances)))

    def whole(*values: Tensor) -> Tensor:
        names = ("real_adversarial", "second_adversarial", "real_features", "second_features")
        return term.discriminator(**dict(zip(names, values, strict=True)))[0]

    assert torch.autograd.gradcheck(whole, [x.requires_grad_() for x in (first, second, one, two)])


def test_the_classes_term_compares_probabilities() -> None:
    logits, others = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    features = torch.zeros(6, 2, dtype=torch.float64)
    term = ClassConsistency(strength=0.1)
    loss, _ = term.discriminator(
        real_classes=logits, second_classes=others, real_features=features, second_features=features + 1
    )
    assert loss.item() == pytest.approx(0.1 * F.mse_loss(logits.softmax(1), others.softmax(1)).item(), rel=1e-9)
    # Logits that differ by a constant are the same classes.
    loss, _ = term.discriminator(
        real_classes=logits, second_classes=logits + 5, real_features=features, second_features=features
    )
    assert loss.item() == pytest.approx(0, abs=1e-12)


def test_a_term_that_does_nothing_says_so() -> None:
    term = Consistency()
    assert term.monitor()["largest"] == 0  # nothing has been seen
    term.observe(largest=torch.tensor(0.0))
    with pytest.raises(GancoreError, match="does nothing; give it dropout"):
        term.monitor()
    term.observe(largest=torch.tensor(0.5))
    term.observe(largest=torch.tensor(0.25))
    assert term.monitor()["largest"] == 0.5


def images(number: int, seed: int = 0) -> Tensor:
    drawn = torch.randint(0, 256, (number, 1, 6, 6), generator=torch.Generator().manual_seed(seed))
    return drawn.float() / 127.5 - 1


def test_fingerprints_are_of_an_image_alone_and_differ_for_images_that_do() -> None:
    many = images(2000)
    numbers = fingerprints(many)
    assert len(numbers.unique()) == 2000
    assert (numbers > 0).all()
    assert torch.equal(fingerprints(many[7:9]), numbers[7:9])
    assert torch.equal(fingerprints(many.to(memory_format=torch.channels_last)), numbers)
    near = many[:1].clone()
    near[0, 0, 0, 0] += 1 / 127.5
    assert fingerprints(near) != numbers[0]
    assert fingerprints(many[:1].flip(3)) != numbers[0]
    # The lower bits choose the place: about as many different ones as chance gives.
    assert len((numbers % 4096).unique()) > 0.9 * 4096 * (1 - (1 - 1 / 4096) ** 2000)


@pytest.mark.parametrize("width", [0, 3])
def test_an_images_target_is_the_average_of_its_earlier_passes(width: int) -> None:
    term, x = TemporalEnsembling(classes=4, slots=64, width=width, decay=0.6, strength=2.0, features=0.1), images(6)
    rng = torch.Generator().manual_seed(1)
    history: list[tuple[Tensor, Tensor]] = []
    for _ in range(4):
        logits, features = torch.randn(6, 4, generator=rng), torch.randn(6, 3, generator=rng)
        loss = term.discriminator(real=x, real_classes=logits, real_features=features)
        if history:
            weights = [0.6**age for age in reversed(range(len(history)))]
            means = [sum(w * each[k] for w, each in zip(weights, history, strict=True)) / sum(weights) for k in range(2)]
            expected = (logits.softmax(1) - means[0].softmax(1)).square().mean()
            expected = expected + 0.1 * (features - means[1]).square().mean() if width else expected
            assert loss.item() == pytest.approx(2 * expected.item(), rel=1e-4)
        else:
            assert loss == 0
        term.observe(real=x, real_classes=logits, real_features=features)
        history.append((logits, features))
    assert int((term.keys != 0).sum()) == 6


def test_the_order_of_a_batch_does_not_matter_and_new_images_add_nothing() -> None:
    term, x = TemporalEnsembling(classes=4, slots=64), images(8)
    logits, features = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(8, 1)
    term.observe(real=x[:6], real_classes=logits[:6], real_features=features[:6])
    order = torch.tensor([3, 7, 0, 6, 5])
    loss = term.discriminator(real=x[order], real_classes=logits[order] + torch.eye(5)[:, :4], real_features=features[order])
    seen = [0, 2, 4]
    changed = (logits[order] + torch.eye(5)[:, :4]).softmax(1)
    expected = (changed - logits[order].softmax(1)).square().mean(1)[seen].sum() / 5
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_memory_that_is_full_forgets_no_image_that_it_has() -> None:
    term, x = TemporalEnsembling(classes=2, slots=8), images(30)
    logits, features = torch.randn(30, 2, generator=torch.Generator().manual_seed(1)), torch.zeros(30, 1)
    for start in range(30):
        term.observe(real=x[start : start + 1], real_classes=logits[start : start + 1], real_features=features[:1])
    held = set(term.keys.tolist())
    assert held == set(fingerprints(x[:8]).tolist())
    shared = TemporalEnsembling(classes=2, slots=2**17)
    many = images(20000)
    for batch in many.split(100):
        shared.observe(real=batch, real_classes=torch.zeros(100, 2), real_features=torch.zeros(100, 1))
    assert int((shared.keys != 0).sum()) > 0.999 * 20000


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_an_image_without_a_place_takes_nothing_from_one_that_has_it(order: list[int]) -> None:
    term, x = TemporalEnsembling(classes=2, slots=8), images(200)
    # All places are taken, and a further image looks first where one of the batch lies.
    for image in x[:8].split(1):
        term.observe(real=image, real_classes=torch.zeros(1, 2), real_features=torch.zeros(1, 1))
    keys = fingerprints(x)
    held = x[:8][(fingerprints(x[:8]) == term.keys[keys[8] % 8])]
    batch = torch.cat([held, x[8:9]])[order]
    term.observe(real=batch, real_classes=torch.tensor([[1.0, 0.0], [0.0, 1.0]])[order], real_features=torch.zeros(2, 1))
    place = int((term.keys == fingerprints(held)).int().argmax())
    torch.testing.assert_close(term.averages[place], torch.tensor([0.4, 0.0]))
    assert term.passes.tolist() == [2.0 if number == place else 1.0 for number in range(8)]


def test_of_two_new_images_that_want_one_place_one_has_it_whole() -> None:
    term, x = TemporalEnsembling(classes=2, slots=8), images(200)
    places = fingerprints(x) % 8
    pair = x[places == places[0]][:2]
    term.observe(real=pair, real_classes=torch.tensor([[1.0, 0.0], [0.0, 1.0]]), real_features=torch.zeros(2, 1))
    written = term.keys[places[0]] == fingerprints(pair)
    assert written.sum() == 1
    assert term.averages[places[0]].tolist() == pytest.approx([0.4 * float(one) for one in written])


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(GancoreError, match="width 5, but the discriminator gives 4 and 3"):
        TemporalEnsembling(classes=4, width=5).discriminator(
            real=images(2), real_classes=torch.zeros(2, 4), real_features=torch.zeros(2, 3)
        )


def test_the_critics_are_the_authors() -> None:
    critic = Critic(channels=1, image_size=32)
    assert [layer.weight.shape[0] for layer in critic.layers if isinstance(layer, nn.Conv2d)] == [64, 128, 256]
    assert critic.features == 4096
    residual = ResNetCritic(channels=3, image_size=32)
    assert [layer.p for layer in residual.modules() if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5]
    # 1,053,696 parameters without the head's 129, which are WGAN-GP's critic's; dropout has none.
    assert sum(parameter.numel() for parameter in residual.parameters()) == 1_053_696
    x = torch.randn(2, 3, 32, 32)
    assert residual(x).shape == (2, 128)
    assert not torch.equal(residual(x), residual(x))
    assert torch.equal(residual.eval()(x), residual(x))
    head = DropoutLinear(features=128)
    assert not torch.equal(head(residual(x), None), head(residual(x), None))  # type: ignore[arg-type]


@pytest.mark.parametrize("cls", [Critic, ResNetCritic])
def test_sizes_that_no_halving_reaches_are_refused(cls: Any) -> None:
    with pytest.raises(GancoreError, match=r"power of two of pixels, at least 8, not 28; set data\.image_size"):
        cls(channels=1, image_size=28)


def test_a_residual_critic_has_three_probabilities() -> None:
    with pytest.raises(GancoreError, match="three probabilities"):
        ResNetCritic(channels=3, image_size=32, dropout=[0.5])
