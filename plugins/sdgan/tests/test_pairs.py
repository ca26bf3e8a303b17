"""SD-GAN: what the images of a sample have in common, what the discriminator sees, the score, and trainings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gancore_sdgan.metrics import SameLabel
from gancore_sdgan.networks import PairGenerator, SiameseDiscriminator
from gancore_standard.tools import SNDCGANGenerator
from gancore_training import Evaluator, TrainingRun
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError
from gancore.tools import make_plan, read
from tests.compose.hosts import CPU, registry, same, steps

TINY = ["run.batch_size=8", "networks.generator.width=0.1", "networks.discriminator.width=0.1", "networks.annotator=false"]
PLAIN = ["metrics=false", "run.precision=float32"]


def digits(*settings: str, recipe: str = "sdgan/digits", overlays: tuple[str, ...] = ()) -> TrainingRun:
    checked = read(recipe, registry(), overlays=overlays, assignments=[*TINY, *PLAIN, *settings])
    return TrainingRun(make_plan(checked, registry()), CPU)


def generator(**settings: Any) -> PairGenerator:
    torch.manual_seed(0)
    settings = {"channels": 1, "image_size": 16, "latent_dim": 12, "group_size": 3, "identity": 3, "width": 0.1, **settings}
    return PairGenerator(**settings).eval()


def test_each_image_is_made_of_the_identity_and_its_own_observation_by_the_same_weights() -> None:
    network, z = generator(), torch.randn(5, 12)
    images = network(z)
    assert images.shape == (5, 3, 1, 16, 16)
    for place in range(3):
        one = torch.cat([z[:, :3], z[:, 3 + 3 * place : 6 + 3 * place]], 1)
        torch.testing.assert_close(images[:, place], SNDCGANGenerator.forward(network, one))


def test_an_observation_moves_its_own_image_alone_and_the_identity_all() -> None:
    network, z = generator(), torch.randn(1, 12, requires_grad=True)
    for place, image in enumerate(network(z)[0]):
        (gradient,) = torch.autograd.grad(image.sum(), z, retain_graph=True)
        moved = gradient[0].reshape(4, 3).abs().amax(1) > 0
        assert moved.tolist() == [True, *(other == place for other in range(3))]


@pytest.mark.parametrize(("latent_dim", "identity"), [(150, 50), (64, 22), (48, 16)])
def test_a_latent_is_cut_evenly_by_default(latent_dim: int, identity: int) -> None:
    assert generator(latent_dim=latent_dim, group_size=2, identity=None).identity == identity


@pytest.mark.parametrize(("latent_dim", "identity"), [(12, 4), (12, 12), (5, 8)])
def test_a_latent_that_does_not_divide_is_refused(latent_dim: int, identity: int) -> None:
    with pytest.raises(GancoreError, match=f"a latent of {latent_dim} numbers less an identity of {identity} is no 3 equal"):
        generator(latent_dim=latent_dim, identity=identity)


def test_one_image_is_a_sample_too() -> None:
    assert generator(latent_dim=6, group_size=1)(torch.randn(4, 6)).shape == (4, 1, 16, 16)
    alone = SiameseDiscriminator(channels=1, image_size=16, width=0.1)
    assert alone(torch.randn(4, 1, 16, 16)).shape == (4, alone.features)


def test_the_discriminator_encodes_images_alike_and_joins_their_maps_in_order() -> None:
    torch.manual_seed(0)
    network = SiameseDiscriminator(channels=1, image_size=16, group_size=2, width=0.1).eval()
    x = torch.randn(4, 2, 1, 16, 16)
    maps = [network.layers(x[:, place]) for place in range(2)]
    join, norm, _ = network.joined
    by_hand = F.leaky_relu(norm(F.conv2d(torch.cat(maps, 1), join.weight, stride=2, padding=1)), 0.2).flatten(1)
    torch.testing.assert_close(network(x), by_hand)
    assert not torch.allclose(network(x), network(x.flip(1)))


def test_real_samples_are_images_of_one_digit() -> None:
    run = digits()
    images, labels = run.batches.selection[:2]
    batch = run.fresh()
    assert batch.real.shape == (8, 2, 1, 8, 8)
    for sample, label in zip(batch.real, batch.real_label, strict=True):
        known = images.float().div(127.5).sub(1)
        places = [int((known - image).abs().flatten(1).amax(1).argmin()) for image in sample]
        assert labels[places].tolist() == [label, label]


def test_the_score_counts_samples_of_one_label_and_chance() -> None:
    metric = SameLabel(size=2)
    labels = torch.tensor([0, 0, 1, 2, 2, 2, 0, 1])
    for piece in F.one_hot(labels, 4).float().split(3):
        metric.update(logits=piece)
    shares = torch.tensor([3, 2, 3]) / 8
    assert metric.compute() == {"same": 0.5, "chance": pytest.approx(float(shares.square().sum()))}
    metric.reset()
    metric.update(logits=torch.eye(3))
    with pytest.raises(GancoreError, match="3 images are no samples of 2"):
        metric.compute()


def test_independent_images_agree_by_chance() -> None:
    metric, noise = SameLabel(size=3), torch.Generator().manual_seed(0)
    labels = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 30000, replacement=True, generator=noise)
    metric.update(logits=F.one_hot(labels, 3).float())
    scores = metric.compute()
    assert scores["same"] == pytest.approx(scores["chance"], abs=0.015)


def test_a_run_is_scored_by_its_pairs() -> None:
    metrics = ["metrics={pairs={use='sdgan/same-label',network='annotator'}}"]
    annotator = ["networks.annotator={use='probe/small-classifier'}", "evaluation={samples=20,batch_size=8}"]
    run = digits(*metrics, *annotator)
    scored = Evaluator(run)()
    assert set(scored.values) == {"pairs/same", "pairs/chance"}
    assert scored.protocols["pairs"]["size"] == 2


def test_samples_that_a_recipe_does_not_make_are_scored_with_a_warning() -> None:
    metrics = ["metrics={pairs={use='sdgan/same-label',network='annotator',size=4}}"]
    run = digits(*metrics, "networks.annotator={use='probe/small-classifier'}", "evaluation={samples=20,batch_size=8}")
    assert "makes no samples of 4 images" in Evaluator(run)().protocols["pairs"]["warning"]
    assert "warning" not in SameLabel(size=2, group_size=2).protocol()


@pytest.mark.parametrize("recipe", ["sdgan/digits", "sdgan/digits-apart"])
def test_recipes_train_and_go_on_to_the_last_bit(recipe: str) -> None:
    whole, half = steps(digits(recipe=recipe), 3), steps(digits(recipe=recipe), 1)
    again = digits(recipe=recipe)
    again.restore({name: value.clone() for name, value in half.tensors().items()}, half.counters(), half.numbers())
    assert same(whole, steps(again, 2)) == []
    assert all(loss.isfinite() for loss in whole.losses.values())


def test_the_gradient_penalty_takes_whole_samples() -> None:
    penalty = ["losses.penalty={use='standard/gradient-penalty'}", "losses.adversarial={use='standard/wasserstein'}"]
    run = digits(*penalty)
    network, head = run.networks["discriminator"], run.heads["adversarial"]
    real, fake, share = torch.randn(8, 2, 1, 8, 8), torch.randn(8, 2, 1, 8, 8), torch.rand(8, 1, 1, 1, 1)
    mixed = (real + share * (fake - real)).requires_grad_()
    logits = head(network(mixed), torch.zeros(8, dtype=torch.int64))
    (gradient,) = torch.autograd.grad(logits.sum(), mixed, create_graph=True)
    norms = torch.stack([row.detach().double().pow(2).sum().sqrt() for row in gradient])
    term = run.terms["penalty"]
    by_term: Tensor = term.discriminator(mixed_view=mixed, mixed_adversarial=logits)  # type: ignore[operator]
    assert float(by_term.detach()) == pytest.approx(float((norms - 1).square().mean()), rel=1e-5)
    assert steps(run, 2).losses["discriminator/penalty"].isfinite()


def test_the_fragment_goes_over_another_recipe_and_says_what_can_not_see_pairs() -> None:
    steps(digits(recipe="cbgan/digits-lt-baseline", overlays=("sdgan/pairs",)), 2)
    with pytest.raises(GancoreError, match=r"networks\.classifier \(standard/small-cnn\) takes one image a sample"):
        digits(recipe="cbgan/digits-lt-baseline", overlays=("sdgan/pairs", "cbgan/class-balance"))
