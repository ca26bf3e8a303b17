"""The samplers: parity with the authors' code, the paper's propositions on a line of cells, and what a batch becomes."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import gancore_dsgan
import gancore_standard
import numpy as np
import pytest
import torch
from gancore_dsgan.samplers import Difference, Noise, Wide
from scipy.optimize import minimize
from scipy.special import log_softmax, rel_entr, softmax
from torch import Tensor, nn

import gancore
from gancore import GancoreError
from gancore.contract.data import DatasetInfo, Drawn
from gancore.engine.run import Run
from gancore.engine.values import Batch
from gancore.plan.load import make_plan
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from gancore.registry import Registry
from gancore.testing import host
from tests.compose.hosts import CPU

Load = Callable[[str], dict[str, Any]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

# -- the plugin of this module -----------------------------------------------------------------------------------------


class Six(gancore.Dataset):
    """Vectors of six numbers, as the parity vectors have them."""

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(4, 6, 1, continuous=True)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        noise = torch.Generator().manual_seed(len(split))
        return torch.rand(40, 6, 1, 1, generator=noise) * 2 - 1, torch.arange(40) % 4


class Cells(gancore.Dataset):
    """The numbers of twenty cells."""

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(1, 1, 1, continuous=True)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        return torch.arange(20.0).view(20, 1, 1, 1), torch.zeros(20, dtype=torch.int64)


class Straight(gancore.Generator):
    """Makes an image of a latent by taking it as it is."""

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return z[:, :, None, None] + self.nothing


class Table(gancore.Discriminator):
    """A logit for each cell."""

    features = 1

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(20, 1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits[x.flatten().long()]


class Flat(gancore.Discriminator):
    """An image as it is."""

    def __init__(self, *, channels: int, image_size: int) -> None:
        super().__init__()
        self.features = channels * image_size**2

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Same(gancore.Head):
    """The feature itself, in double precision as far as core lets it."""

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        return features.squeeze(1)


def _declared(**targets: str) -> Iterator[gancore.Component]:
    for name, target in targets.items():
        yield gancore.Component(name, f"{__name__}:{target}", target)


@gancore.hookimpl
def gancore_datasets() -> Iterator[gancore.Component]:
    yield from _declared(six="Six", cells="Cells")


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    yield from _declared(straight="Straight", table="Table", flat="Flat")


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    yield from _declared(same="Same")


REGISTRY = Registry.of({"standard": gancore_standard, "host": host, "dsgan": gancore_dsgan, "toy": sys.modules[__name__]})


def run_of(table: dict[str, Any], *tables: dict[str, Any]) -> Run:
    for over in tables:
        table = merge(table, over)
    return Run(make_plan(check_table(table, REGISTRY, name="test"), REGISTRY), CPU)


# -- what a batch becomes ----------------------------------------------------------------------------------------------


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(number: int) -> Drawn:
    """Return a batch whose images tell where they are from: data 0.1, avoid 0.2, partner 0.3, and then their place."""

    def images(base: float) -> Tensor:
        return (base + torch.arange(number) / 1e4).view(-1, 1, 1, 1).expand(-1, 2, 3, 3).clone()

    label = torch.arange(number)
    sides = {"avoid": (images(0.2), label + 1000), "partner": (images(0.3), label + 2000)}
    return Drawn(images(0.1), label, sides=sides)


@pytest.mark.parametrize(
    ("alpha", "size", "expected"),
    [(0.8, 10, 8), (0.5, 10, 5), (0.7, 10, 7), (0.29, 100, 29), (0.8, 64, 51), (0.8, 1, 0), (0.0, 10, 0), (0.999, 100, 99)],
)
def test_the_minibatch_holds_floor_of_alpha_n_images_to_avoid(alpha: float, size: int, expected: int) -> None:
    batch = batch_of(size)
    drawn = Difference(alpha=alpha).draw(batch, noise())
    (side,) = drawn.joined
    assert side == "fake"
    images, labels = drawn.joined["fake"]
    assert torch.equal(images, batch.sides["avoid"][0][:expected])
    assert torch.equal(labels, torch.arange(expected) + 1000)
    assert not drawn.blended
    assert torch.equal(drawn.real, batch.real)
    assert torch.equal(drawn.real_label, batch.real_label)


@pytest.mark.parametrize("wide", ["data", "normal", "uniform", "blend"])
def test_wide_is_the_difference_without_what_is_joined(wide: Any) -> None:
    """For Eq. 2's weights: the real images as with the mixture, and all images to avoid where they were."""
    batch = batch_of(10)
    mixture = Difference(wide=wide).draw(batch, noise())
    drawn = Wide(wide=wide).draw(batch, noise())
    assert len(mixture.joined["fake"][0]) == 8
    assert not drawn.joined
    assert torch.equal(drawn.real, mixture.real)
    assert drawn.sides == batch.sides
    assert drawn.blended.keys() == mixture.blended.keys() == ({"real"} if wide == "blend" else set())
    for one, other in zip(drawn.blended.values(), mixture.blended.values(), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_the_sources_have_the_names_that_the_settings_give() -> None:
    sampler = Difference(wide="blend", avoid="a", partner="b")
    assert sampler.reads() == ("a", "b")
    assert Difference(avoid="a", partner="b").reads() == ("a",)
    batch = batch_of(6)
    batch.sides = {"a": batch.sides["partner"], "b": batch.sides["avoid"]}
    drawn = sampler.draw(batch, noise())
    assert drawn.joined["fake"][0].min() > 0.25
    assert torch.equal(drawn.blended["real"][0], batch.sides["b"][0])
    assert Wide(wide="blend", partner="b").reads() == ("b",)
    assert Wide(wide="normal").reads() == ()


def test_a_blend_draws_the_partners_share_up_to_beta_for_each_image() -> None:
    drawn = Difference(wide="blend", beta=0.3).draw(batch_of(4000), noise())
    share = 1 - drawn.blended["real"][1]
    assert share.shape == (4000,)
    assert 0 <= share.min() < 0.001
    assert 0.299 < share.max() <= 0.3
    assert share.mean().item() == pytest.approx(0.15, abs=0.005)
    assert torch.equal(drawn.real, batch_of(4000).real)
    none = Difference(wide="blend", beta=0.0).draw(batch_of(8), noise())
    assert (none.blended["real"][1] == 1).all()


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("scale", [0.0, 0.05, 0.5])
def test_noise_widens_real_images_alone(kind: Any, scale: float) -> None:
    batch = batch_of(3000)
    before = copy.deepcopy(batch)
    wide = Difference(wide=kind, scale=scale).draw(batch, noise(3))
    plain = Noise(kind=kind, scale=scale).draw(batch, noise(3))
    assert torch.equal(wide.real, plain.real)
    assert not plain.joined
    assert torch.equal(batch.real, before.real)
    assert torch.equal(wide.sides["avoid"][0], before.sides["avoid"][0])
    assert torch.equal(wide.joined["fake"][0], before.sides["avoid"][0][:2400])
    delta = (wide.real - batch.real).flatten()
    if kind == "uniform":
        assert delta.abs().max() <= scale + 1e-6
        assert delta.abs().max() >= 0.99 * scale
    assert delta.std().item() == pytest.approx(scale / (math.sqrt(3) if kind == "uniform" else 1), rel=0.02)
    assert delta.mean().item() == pytest.approx(0, abs=0.02 * scale + 1e-7)
    if scale:
        # Every value has noise of its own, and another draw another noise.
        assert delta.unique().numel() > 0.5 * delta.numel()
        assert not torch.equal(Noise(kind=kind, scale=scale).draw(batch, noise(4)).real, plain.real)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_bounded_noise_stays_where_a_generator_reaches(kind: Any) -> None:
    """Half the noise on a black pixel is beyond what tanh gives; the rest of an image is as without bounds."""
    black = Drawn(torch.cat([-torch.ones(500, 1, 2, 2), torch.zeros(500, 1, 2, 2)]), torch.zeros(1000))
    black.sides["avoid"] = (black.real, black.real_label)
    free, bounded = (Noise(kind=kind, scale=0.2, bounded=only).draw(black, noise(3)).real for only in (False, True))
    assert (free < -1).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(bounded, free.clamp(-1, 1))
    for sampler in (Wide(wide=kind, scale=0.2, bounded=True), Difference(wide=kind, scale=0.2, bounded=True)):
        assert torch.equal(sampler.draw(black, noise(3)).real, bounded)
    joined = Noise(kind=kind, scale=0.2, source="avoid", bounded=True).draw(black, noise(3)).sides["avoid"][0]
    assert torch.equal(joined, bounded)


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "alpha of 1": ({"alpha": 1.0}, ["alpha must be a number in [0, 1), not 1"]),
    "alpha below 0": ({"alpha": -0.1}, ["alpha must be a number in [0, 1), not -0.1"]),
    "alpha of nan": ({"alpha": math.nan}, ["alpha must be a number in [0, 1)"]),
    "alpha as a text": ({"alpha": "most"}, ["alpha", "'most'"]),
    "beta above 1": ({"beta": 1.1, "wide": "blend"}, ["beta must be a number in [0, 1], not 1.1"]),
    "beta below 0": ({"beta": -0.5}, ["beta must be a number in [0, 1], not -0.5"]),
    "a negative scale": ({"scale": -0.1}, ["scale must be a number at least 0, not -0.1"]),
    "an unknown distribution": ({"wide": "unifrom"}, ["wide", "did you mean 'uniform'?"]),
    "weights in place of the mixture": ({"use": "dsgan/wide", "alpha": 0.5}, ["no setting 'alpha'"]),
    "no source to avoid": ({"avoid": "ones"}, ["'ones'", "its sources: avoid", "add [sources.ones]"]),
    "no partner": ({"wide": "blend"}, ["'partner'", "add [sources.partner]"]),
    "of": ({"of": "avoid"}, ["leave out `of`"]),
}

GAME: dict[str, Any] = {
    "run": {"iterations": 8, "batch_size": 10, "latent_dim": 3, "precision": "float32"},
    "data": {"use": "toy/six"},
    "networks": {"generator": {"use": "host/generator"}, "discriminator": {"use": "host/discriminator"}},
    "heads": {"adversarial": {"use": "standard/linear"}},
    "losses": {"adversarial": {"use": "standard/wasserstein"}},
    "sources": {"avoid": {}},
    "samplers": {"difference": {"use": "dsgan/difference"}},
}


def game_of(weighting: str, alpha: float, objective: str, **sampler: Any) -> dict[str, Any]:
    """Return the tables of the mixture, or those of Eq. 2's expectation: the critic's loss twice, by weights."""
    if weighting == "mixture":
        difference = {"use": "dsgan/difference", "alpha": alpha, **sampler}
        return {"samplers": {"difference": difference}, "losses": {"adversarial": {"use": objective}}}
    critic = {"use": objective, "players": ["discriminator"]}
    losses = {
        "adversarial": {"use": objective, "players": ["generator"]},
        "generated": {**critic, "weight": 1 - alpha},
        "avoided": {**critic, "weight": alpha, "reads": {"fake": "avoid"}},
    }
    return {"samplers": {"difference": {"use": "dsgan/wide", **sampler}}, "losses": losses}


def critics_loss(run: Run) -> Tensor:
    """Return the weighted sum of the critic's losses in its last turn, without penalties."""
    labels = [label for label in ("adversarial", "generated", "avoided") if f"discriminator/{label}" in run.losses]
    return torch.stack([run.parts.weights[label] * run.losses[f"discriminator/{label}"] for label in labels]).sum()


@pytest.mark.parametrize("kind", WRONG)
def test_a_bad_setting_is_refused_in_a_sentence(kind: str) -> None:
    settings, pieces = WRONG[kind]
    with pytest.raises(GancoreError) as caught:
        run_of(GAME, {"samplers": {"difference": settings}})
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    for piece in ["samplers.difference", *pieces]:
        assert piece in text, text
    with pytest.raises(GancoreError, match=r"samplers.noise \(dsgan/noise\): scale must be a number at least 0"):
        run_of(GAME, {"samplers": {"noise": {"use": "dsgan/noise", "scale": -1}}})


# -- parity ------------------------------------------------------------------------------------------------------------

ON: dict[str, Any] = {
    "networks": {
        "generator": {"use": "host/generator"},
        "classifier": {"use": "standard/mlp-classifier", "hidden": 8, "depth": 1},
        "discriminator": {"use": "standard/mlp-discriminator", "hidden": 5, "depth": 1, "on": "classifier"},
    },
    "losses": {
        "penalty": {"use": "standard/gradient-penalty", "weight": 10.0},
        "classes": {"use": "dsgan/semi-supervised", "entropy": 0.1},
    },
    "loop": {"use": "dsgan/semi-supervised"},
    "sources": {"avoid": {}, "partner": {}, "labelled": {}},
}


@attrs.frozen
class Original:
    """The game of the parity vectors, with their weights."""

    run: Run
    vectors: dict[str, Any]
    alpha: float

    def tensor(self, name: str) -> Tensor:
        return torch.as_tensor(self.vectors[name]).float()

    def images(self, name: str) -> Tensor:
        return self.tensor(name)[:, :, None, None]

    def expected(self, name: str) -> Tensor:
        return self.tensor(f"a{self.alpha}_{name}")

    def number(self) -> int:
        return int(self.vectors[f"a{self.alpha}_n_d"])

    def batch(self) -> Batch:
        """Return what the sampler makes of the vectors, with theirs for the share that it draws.

        The authors' mixture begins with the images to avoid, gancore's with the generated ones. The penalty goes from the
        i-th real one to the i-th of the mixture, so the real ones are turned round as the mixture is.
        """
        label = torch.zeros(10, dtype=torch.int64)
        avoid, partner, real = self.images("x_d"), self.images("x1"), self.images("x2")
        turned = self.turn(torch.arange(10)) if self.turns else torch.arange(10)
        drawn = Drawn(real[turned], label, sides={"avoid": (avoid, label), "partner": (partner[turned], label)})
        drawn = self.run.samplers["difference"].draw(drawn, noise())
        batch = Batch(**attrs.asdict(drawn, recurse=False))
        batch.blended = {"real": (drawn.blended["real"][0], 1 - self.expected("beta").flatten()[turned])}
        return attrs.evolve(batch, z=self.tensor("z"), fake_label=label)

    @property
    def turns(self) -> bool:
        return isinstance(self.run.samplers["difference"], Difference)

    def turn(self, rows: Tensor) -> Tensor:
        """Return rows in gancore's order of the mixture."""
        return torch.cat([rows[self.number() :], rows[: self.number()]])

    def views(self) -> list[Tensor]:
        seen: list[Tensor] = []
        discriminator = self.run.networks["discriminator"]
        discriminator.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach()[:, :, 0, 0]))
        return seen


@pytest.fixture(params=[0.8, 0.5])
def original(request: pytest.FixtureRequest, parity: Load) -> Original:
    return original_of(parity("dsgan"), request.param, "mixture")


def original_of(vectors: dict[str, Any], alpha: float, weighting: str) -> Original:
    run = run_of(GAME, ON, game_of(weighting, alpha, "standard/wasserstein", wide="blend"))
    original = Original(run, vectors, alpha)
    weights = {
        "ge_g": run.networks["generator"].linear,
        "cl_a": run.networks["classifier"].layers[0],
        "cl_o": run.networks["classifier"].linear,
        "cr_m_0": run.networks["discriminator"].layers[0],
        "cr_m_2": run.heads["adversarial"].linear,
    }
    with torch.no_grad():
        for name, layer in weights.items():
            layer.weight.copy_(original.tensor(f"{name}_weight"))
            layer.bias.copy_(original.tensor(f"{name}_bias"))
    return original


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_the_critic_sees_the_blend_and_the_mixture_of_the_authors_code(original: Original) -> None:
    seen = original.views()
    batch = original.batch()
    assert len(batch.joined["fake"][0]) == original.number()
    original.run.phase("discriminator", batch)
    joined = seen[0]
    close(joined[:10], original.turn(original.expected("p_dbar_feat")))
    close(joined[10:], original.turn(original.expected("mix_feat")))


def test_the_critics_loss_and_gradient_are_those_of_the_authors_code(original: Original) -> None:
    run = original.run
    penalty: Any = run.terms["penalty"]
    # Their number is the share of the real feature.
    share = 1 - original.turn(original.tensor("gp_alpha"))[:, :, None, None]
    penalty.interpolate = lambda *, real_view, fake_view, **_: real_view + share * (fake_view - real_view)
    run.phase("discriminator", original.batch())
    critic, gradient_penalty = run.losses["discriminator/adversarial"], run.losses["discriminator/penalty"]
    close(critic, original.expected("critic_w"))
    close(gradient_penalty, original.expected("gp"))
    close(critic + 10 * gradient_penalty, original.expected("d_loss"))
    gradient = run.networks["discriminator"].layers[0].weight.grad
    assert gradient is not None
    close(gradient, original.expected("grad_cr0"))
    assert all(parameter.grad is None for parameter in run.networks["classifier"].parameters())


def test_the_generators_loss_and_gradient_are_those_of_the_authors_code(original: Original) -> None:
    """The gradient goes through the critic and through the classifier, neither of which gets any."""
    run = original.run
    run.phase("generator", original.batch())
    close(run.losses["generator/adversarial"], original.tensor("g_loss"))
    gradient = run.networks["generator"].linear.weight.grad
    assert gradient is not None
    close(gradient, original.tensor("g_grad_w"))
    for player in ("discriminator", "classifier"):
        assert all(parameter.grad is None for parameter in run.players[player].parameters)


@pytest.mark.parametrize("alpha", [0.8, 0.5])
def test_weights_in_place_of_numbers_are_equation_2(parity: Load, alpha: float) -> None:
    original = original_of(parity("dsgan"), alpha, "expectation")
    run = original.run
    run.phase("discriminator", original.batch())
    close(critics_loss(run), original.expected("weighted_eq2"))


def test_the_classifiers_loss_in_the_game_is_that_of_the_authors_code(original: Original) -> None:
    run = original.run
    batch = original.batch()
    label = torch.as_tensor(original.vectors["y_lab"])
    batch.sides = {**batch.sides, "labelled": (original.images("x_lab"), label)}
    batch.real = original.images("x_d")
    run.phase("classifier", batch)
    close(run.losses["classifier/classes"], original.tensor("c_loss_lgan1_le0_1"))


# -- theory, on a line of twenty cells ---------------------------------------------------------------------------------

LINE: dict[str, Any] = {
    "run": {"iterations": 5000, "batch_size": 200, "latent_dim": 1, "precision": "float32"},
    "data": {"use": "toy/cells"},
    "networks": {"generator": {"use": "toy/straight"}, "discriminator": {"use": "toy/table"}},
    "heads": {"adversarial": {"use": "toy/same"}},
    "losses": {"adversarial": {"use": "standard/minimax"}},
    "sources": {"avoid": {}},
    "samplers": {"difference": {"use": "dsgan/difference"}},
    "optimizers": {"discriminator": {"use": "sgd", "lr": 20.0, "momentum": 0.9}},
}


def counted(counts: Floats) -> Tensor:
    """Return as many images of each cell as there are counts."""
    cells = torch.arange(20).repeat_interleave(torch.as_tensor(counts).round().long())
    return cells.float().view(-1, 1, 1, 1)


def shaped(*pieces: tuple[int, int]) -> Floats:
    """Return the distribution that is even on each piece (number of cells, counts per cell)."""
    counts = np.concatenate([np.full(number, float(count)) for number, count in pieces])
    assert len(counts) == 20
    distribution: Floats = counts / counts.sum()
    return distribution


def optimum(p_w: Floats, p_d: Floats, p_g: Floats, alpha: float, weighting: str) -> tuple[Floats, float]:
    """Return D at the optimum, cell by cell, and the game's value there, by training D in a run on exact proportions.

    The fake minibatch of the mixture has (1 - alpha) N generated images; a batch has 200 real ones.
    """
    run = run_of(LINE, game_of(weighting, alpha, "standard/minimax"))
    label = torch.zeros(200, dtype=torch.int64)
    generated = 200 if weighting == "expectation" else 200 - round(alpha * 200)
    avoided = 200 if weighting == "expectation" else 200 - generated
    for share, number in ((p_w, 200), (p_d, avoided), (p_g, generated)):
        assert np.allclose(share * number, np.round(share * number)), "the proportions would not be exact"
    # What follows the images that the sampler takes is of a cell that nothing else has, so that taking it would show.
    avoid = torch.cat([counted(p_d * avoided), torch.full((200 - avoided, 1, 1, 1), 19.0)])
    z = torch.cat([counted(p_g * generated).flatten(1), torch.full((200 - generated, 1), 19.0)])
    drawn = Drawn(counted(p_w * 200), label, sides={"avoid": (avoid, label)})
    drawn = run.samplers["difference"].draw(drawn, noise())
    batch = attrs.evolve(Batch(**attrs.asdict(drawn, recurse=False)), z=z, fake_label=label)
    for _ in range(400):
        run.phase("discriminator", batch)
    table = run.networks["discriminator"].logits.detach().flatten()
    return table.sigmoid().numpy(), -float(critics_loss(run))


def criterion(p_w: Floats, p_d: Floats, p_g: Floats, alpha: float) -> float:
    """Return the game's value at the best D: -log 4 and twice the Jensen-Shannon divergence."""
    mixture = (1 - alpha) * p_g + alpha * p_d
    middle = (p_w + mixture) / 2
    return float(-math.log(4) + rel_entr(p_w, middle).sum() + rel_entr(mixture, middle).sum())


P_W = shaped((10, 14), (9, 6), (1, 6))
P_D = shaped((10, 10), (10, 0))
REACHED = (P_W - 0.5 * P_D) / 0.5
GENERATED: dict[str, Floats] = {
    "reachable": REACHED,
    "even": shaped((20, 1)),
    "p_w": P_W,
    "p_d": P_D,
    "nothing there": shaped((5, 0), (10, 2), (5, 0)),
}


@pytest.mark.parametrize("weighting", ["mixture", "expectation"])
@pytest.mark.parametrize("kind", GENERATED)
def test_the_best_discriminator_is_proposition_1s(kind: str, weighting: str) -> None:
    p_g = GENERATED[kind]
    discriminator, value = optimum(P_W, P_D, p_g, 0.5, weighting)
    expected = P_W / (P_W + 0.5 * p_g + 0.5 * P_D)
    np.testing.assert_allclose(discriminator, expected, atol=1e-3)
    # Where nothing is called fake, the best logit is infinite.
    infinite = (p_g + P_D == 0).any()
    assert value == pytest.approx(criterion(P_W, P_D, p_g, 0.5), abs=2e-4 if infinite else 1e-6)
    if kind == "reachable":
        assert value == pytest.approx(-math.log(4), abs=1e-6)
    else:
        assert value > -math.log(4) + 1e-3


def best(p_w: Floats, p_d: Floats, alpha: float) -> Floats:
    """Return the p_g at which the criterion is least over all distributions."""

    def value(logits: Floats) -> tuple[float, Floats]:
        p_g = softmax(logits)
        mixture = (1 - alpha) * p_g + alpha * p_d
        slope = (1 - alpha) * np.log(2 * mixture / (p_w + mixture))
        return criterion(p_w, p_d, p_g, alpha), p_g * (slope - (p_g * slope).sum())

    least = minimize(value, np.zeros(20), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10})
    assert np.isfinite(log_softmax(least.x)).all()
    p_g: Floats = softmax(least.x)
    return p_g


def test_the_best_generator_makes_the_difference_where_that_can_be() -> None:
    """Theorem 1: the least value is -log 4, where (1 - alpha) p_g + alpha p_d = p_w."""
    for alpha in (0.2, 0.5):
        expected = (P_W - alpha * P_D) / (1 - alpha)
        assert (expected >= 0).all()
        p_g = best(P_W, P_D, alpha)
        np.testing.assert_allclose(p_g, expected, atol=1e-4)
        assert criterion(P_W, P_D, p_g, alpha) == pytest.approx(-math.log(4), abs=1e-7)


@pytest.mark.parametrize("alpha", [0.8, 0.9])
def test_the_best_generator_leaves_out_the_data_to_avoid_where_they_outweigh(alpha: float) -> None:
    """Proposition 2: with alpha p_d >= p_w on the support of p_d, the support of p_g lies in that of p_w less p_d's."""
    p_w, p_d = shaped((4, 10), (10, 9), (6, 5)), shaped((4, 1), (16, 0))
    support = p_d > 0
    assert (alpha * p_d >= p_w)[support].all()
    p_g = best(p_w, p_d, alpha)
    assert p_g[support].sum() < 1e-3
    np.testing.assert_allclose(p_g[~support], p_w[~support] / p_w[~support].sum(), atol=1e-3)
    assert criterion(p_w, p_d, p_g, alpha) > -math.log(4) + 1e-3
    # Short of the condition, some of p_d's support stays.
    assert best(p_w, p_d, 0.1)[support].sum() > 0.05


def test_no_other_discriminator_does_better_than_the_best() -> None:
    """The value that D reaches in a run bounds what any other table of logits has there."""
    _, value = optimum(P_W, P_D, GENERATED["even"], 0.5, "mixture")
    rng = np.random.default_rng(0)
    for spread in (0.01, 0.3, 3.0):
        mixture = 0.5 * GENERATED["even"] + 0.5 * P_D
        d = P_W / (P_W + mixture)
        logit = np.log(d / (1 - d)) + spread * rng.normal(size=20)
        other = -(P_W * np.logaddexp(0, -logit) + mixture * np.logaddexp(0, logit)).sum()
        assert other < value + 1e-6


# -- the two weightings ------------------------------------------------------------------------------------------------


def linear_critic(weighting: str, number: int, seed: int, alpha: float = 0.8) -> tuple[float, Tensor]:
    """Return loss and gradient of a linear critic on a batch drawn from the data."""
    table = {"run": {"batch_size": number, "seed": seed}, "networks": {"discriminator": {"use": "toy/flat"}}}
    run = run_of(GAME, table, game_of(weighting, alpha, "standard/wasserstein"))
    with torch.no_grad():
        weight = run.heads["adversarial"].linear.weight
        weight.copy_(torch.linspace(-1, 1, 6)[None])
        run.networks["generator"].linear.weight.copy_(torch.linspace(-1, 1, 18).view(6, 3))
        run.networks["generator"].linear.bias.fill_(0.3)
    run.phase("discriminator", run.fresh())
    assert weight.grad is not None
    return float(critics_loss(run)), weight.grad


def test_both_weightings_agree_in_expectation() -> None:
    (loss, gradient), (weighted, gradient_weighted) = (linear_critic(w, 20000, 0) for w in ("mixture", "expectation"))
    assert weighted == pytest.approx(loss, abs=0.02)
    torch.testing.assert_close(gradient_weighted, gradient, atol=0.01, rtol=0)
    # Another alpha is farther away than that.
    _, other = linear_critic("expectation", 20000, 0, alpha=0.5)
    assert (other - gradient).abs().max() > 0.05


def test_weighting_by_expectation_has_less_variance() -> None:
    """At 10 images a batch, 0.8 of them to avoid, the mixture has but two generated ones."""
    spread = {}
    for weighting in ("mixture", "expectation"):
        spread[weighting] = torch.stack([linear_critic(weighting, 10, seed)[1] for seed in range(40)]).var(0).mean().item()
    assert spread["expectation"] < spread["mixture"]


def test_weighting_by_expectation_is_the_mixture_where_numbers_are_in_proportion() -> None:
    """Twice the same five images to avoid, and generated ones that are all alike: then both have the same sums."""
    results = []
    for weighting in ("mixture", "expectation"):
        run = run_of(GAME, game_of(weighting, 0.5, "standard/minimax"))
        batch = run.fresh()
        images, labels = run.batches.sources["avoid"].batch(3, noise())
        five = (images[:5], labels[:5])
        assert batch.z is not None
        batch.z = batch.z[:1].expand(10, -1)
        if weighting == "mixture":
            batch.joined = {"fake": five}
        else:
            batch.sides = {"avoid": (torch.cat([five[0]] * 2), torch.cat([five[1]] * 2))}
        run.phase("discriminator", batch)
        gradients = [p.grad for p in run.players["discriminator"].parameters if p.grad is not None]
        results.append((critics_loss(run), torch.cat([g.flatten() for g in gradients])))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)
