"""What a component may ask for: players and parameters, what a loss keeps, D in place of a classifier, images, labels, data."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gancore
from gancore import GancoreError
from gancore.engine.parts import Normalized
from gancore.engine.run import Run
from gancore.registry import Registry
from gancore.testing import host
from tests import hosts, probe, standin
from tests.hosts import CPU, steps

# -- the plugin of this module -----------------------------------------------------------------------------------------

SEEN: dict[str, Any] = {}
"""What the parts of this module were given last."""


class Means(gancore.LossTerm):
    """Keeps moving means of the logits of both players' turns (after Tseng et al. 2021, section 3.2)."""

    def __init__(self, *, silent: bool = False) -> None:
        super().__init__()
        self.silent = silent
        self.register_buffer("real", torch.zeros(()))
        self.register_buffer("turns", torch.zeros(2, dtype=torch.int64))

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Any:
        loss = (real_adversarial - fake_adversarial).square().mean()
        return loss if self.silent else (loss, {"logit": real_adversarial, "more": fake_adversarial})

    def generator(self, *, fake_adversarial: Tensor) -> Any:
        return fake_adversarial.mean(), {"logit": fake_adversarial}

    def observe(self, *, player: str, logit: Tensor, more: Tensor | None = None, iteration: Tensor) -> None:
        SEEN[player] = {"logit": logit, "more": more}
        self.turns[("generator", "discriminator").index(player)] += 1
        if player == "discriminator":
            self.real.lerp_(logit.mean(), 0.1)


class Misspelled(gancore.LossTerm):
    """Observes a side's tensor that nothing provides."""

    def discriminator(self, *, real_adversarial: Tensor) -> Tensor:
        return real_adversarial.mean()

    def observe(self, *, real_advresarial: Tensor) -> None:
        raise AssertionError


class Anchored(gancore.LossTerm):
    """Keeps the parameters of each player near where they started (after Li et al. 2020, Eq. 4)."""

    def prepare(self, *, player: str, parameters: Sequence[Tensor]) -> None:
        for number, parameter in enumerate(parameters):
            self.register_buffer(f"{player}{number}", parameter.clone())

    def _distance(self, player: str, parameters: Sequence[Tensor]) -> Tensor:
        anchors = [getattr(self, f"{player}{number}") for number in range(len(parameters))]
        return sum(((p - a).square().sum() for p, a in zip(parameters, anchors, strict=True)), torch.zeros(()))

    def discriminator(self, *, player: str, parameters: Sequence[Tensor]) -> Tensor:
        return self._distance(player, parameters)

    generator = discriminator


class Eager(gancore.LossTerm):
    """Wants images before there are any."""

    def prepare(self, *, real: Tensor) -> None:
        raise AssertionError

    def discriminator(self, *, real_adversarial: Tensor) -> Tensor:
        return real_adversarial.mean()


class Confident(gancore.LossTerm):
    """Reads what a classifier says of generated images."""

    def generator(self, *, fake_classifier: Tensor) -> Tensor:
        SEEN["logits"] = fake_classifier
        return fake_classifier.softmax(1).square().sum(1).mean()


class Matching(gancore.LossTerm):
    """Reads a classifier's features."""

    def generator(
        self, *, fake_classifier_features: Tensor, fake_features: Tensor, fake_classes: Tensor | None = None
    ) -> Tensor:
        SEEN.update(features=fake_classifier_features, own=fake_features, classes=fake_classes)
        return fake_classifier_features.square().mean()


class BeforeAugmentation(gancore.LossTerm):
    """R1 with respect to the image before anything is done to it."""

    differentiates = frozenset({"real"})

    def discriminator(self, *, real: Tensor, real_adversarial: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(real_adversarial.sum(), real, create_graph=True)
        SEEN["gradient"] = gradient.detach()
        return gradient.square().sum((1, 2, 3)).mean() / 2


class OfGenerated(BeforeAugmentation):
    """The same of generated images."""

    differentiates = frozenset({"fake"})

    def discriminator(self, *, fake: Tensor, fake_adversarial: Tensor) -> Tensor:
        return super().discriminator(real=fake, real_adversarial=fake_adversarial)


class Half(gancore.Sampler):
    """Halves what D sees."""

    def view(self, images: Tensor, noise: torch.Generator) -> Tensor:
        return images / 2


class Concatenating(gancore.Discriminator):
    """Sees the label beside the image (Mirza & Osindero 2014)."""

    features = 16

    def __init__(self, *, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, 4)
        self.layers = nn.Sequential(nn.Linear(channels * image_size**2 + 4, 16), nn.LeakyReLU(0.1))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        SEEN.setdefault("labels", []).append((x.detach(), label))
        return self.layers(torch.cat([x.flatten(1), self.embedding(label)], 1))


class Virtual(gancore.Generator):
    """Normalizes by the statistics of a reference batch of its own latents (Salimans et al. 2016, section 3.5)."""

    def __init__(self, *, channels: int, image_size: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim, self.shape = latent_dim, (channels, image_size, image_size)
        self.linear = nn.Linear(latent_dim, channels * image_size**2)
        self.register_buffer("mean", torch.zeros(channels * image_size**2))

    def initialize(self, real: Tensor, noise: torch.Generator) -> None:
        SEEN.setdefault("initialized", []).append(real)
        assert self.training
        reference = torch.randn(len(real), self.latent_dim, generator=noise)
        self.mean.copy_(self.linear(reference).mean(0))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.tanh(self.linear(z) - self.mean).view(-1, *self.shape)


def _declared(*names: str) -> Iterator[gancore.Component]:
    for name in names:
        yield gancore.Component(name.lower(), f"{__name__}:{name}", name)


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    yield from _declared(
        "Means", "Misspelled", "Anchored", "Eager", "Confident", "Matching", "BeforeAugmentation", "OfGenerated"
    )


@gancore.hookimpl
def gancore_samplers() -> Iterator[gancore.Component]:
    yield from _declared("Half")


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    yield from _declared("Concatenating", "Virtual")


REGISTRY = Registry.of({"standard": standin, "probe": probe, "host": host, "able": sys.modules[__name__]})

CLASSES: dict[str, Any] = {"heads": {"classes": {"use": "standard/auxiliary-classifier"}}}
CONDITIONAL: dict[str, Any] = {"networks": {"generator": {"use": "standard/dcgan-generator", "conditional": True}}}
SIGN: dict[str, Any] = {"attacks": {"sign": {"use": "probe/sign"}}}


def run_of(*tables: dict[str, Any]) -> Run:
    run = Run(hosts.plan_of(*tables, plugins=REGISTRY), CPU)
    SEEN.clear()
    return run


def term(name: str, **settings: Any) -> dict[str, Any]:
    return {"losses": {name: {"use": f"able/{name}", **settings}}}


# -- players, and what a loss keeps --------------------------------------------------------------------------------------


def test_a_loss_hands_tensors_to_its_own_observe_which_knows_whose_turn_it_is() -> None:
    run = run_of(term("means"))
    batch = run.fresh()
    with torch.no_grad():
        logits = run.heads["adversarial"](run.networks["discriminator"](batch.real), batch.real_label)
    run.phase("discriminator", batch)
    torch.testing.assert_close(SEEN["discriminator"]["logit"], logits, rtol=1e-5, atol=1e-6)
    assert not SEEN["discriminator"]["logit"].requires_grad
    assert SEEN["discriminator"]["more"] is not None
    run.phase("generator", batch)
    assert SEEN["generator"]["more"] is None  # a default stands for what the loss of this player does not keep
    assert run.terms["means"].turns.tolist() == [1, 1]
    assert run.losses["discriminator/means"].ndim == 0


def test_two_terms_keep_what_they_keep_for_themselves() -> None:
    losses = {"one": {"use": "able/means"}, "two": {"use": "able/means", "players": ["generator"]}}
    run = steps(run_of({"losses": losses}), 2)
    assert run.terms["one"].turns.tolist() == [2, 2]
    assert run.terms["two"].turns.tolist() == [2, 0]


def test_what_is_neither_kept_nor_there_is_told_in_a_sentence() -> None:
    with pytest.raises(
        GancoreError, match=r"losses.means .* asks for 'logit' in its observe, which neither .*default\.$"
    ) as caught:
        run_of(term("means", silent=True)).step()
    assert len(str(caught.value)) <= 400
    with pytest.raises(GancoreError, match=r"'real_advresarial' in its observe, which nothing in this recipe provides"):
        run_of(term("misspelled"))


# -- parameters ----------------------------------------------------------------------------------------------------------


def test_a_term_sees_the_parameters_of_the_player_in_turn_and_prepares_by_them() -> None:
    run = run_of(term("anchored"))
    anchors = dict(run.terms["anchored"].named_buffers())
    for player in run.players.values():
        for number, parameter in enumerate(player.weights):
            assert torch.equal(anchors[f"{player.name}{number}"], parameter)
    run.step()
    assert run.losses["discriminator/anchored"].item() == 0
    run.step()
    moved = [
        (p - anchors[f"discriminator{n}"]).detach().square().sum() for n, p in enumerate(run.players["discriminator"].weights)
    ]
    run.phase("discriminator", run.fresh())
    assert run.losses["discriminator/anchored"].item() == pytest.approx(sum(map(float, moved)), rel=1e-5)


def test_what_it_prepared_is_prepared_for_its_own_players_alone() -> None:
    run = run_of(term("anchored", players=["generator"]))
    assert all(name.startswith("generator") for name, _ in run.terms["anchored"].named_buffers())


def test_before_the_first_turn_there_are_no_images() -> None:
    with pytest.raises(GancoreError, match="asks for 'real' in its prepare"):
        run_of(term("eager"))


# -- the discriminator in place of a classifier --------------------------------------------------------------------------


def test_a_term_reads_the_class_head_as_it_reads_a_classifier() -> None:
    run = run_of(CLASSES, term("confident", reads={"classifier": "classes"}))
    run.phase("generator", run.fresh())
    assert SEEN["logits"].shape == (16, 10)
    assert SEEN["logits"].requires_grad


@pytest.mark.parametrize("what", ["discriminator", "classes"])
def test_a_term_reads_the_discriminators_features_as_it_reads_a_classifiers(what: str) -> None:
    run = run_of(CLASSES, term("matching", reads={"classifier": what}))
    run.phase("generator", run.fresh())
    assert torch.equal(SEEN["features"], SEEN["own"])
    assert SEEN["classes"] is not None


@pytest.mark.parametrize("what", ["discriminator", "features"])
def test_the_discriminator_itself_is_its_features(what: str) -> None:
    run = run_of(term("confident", reads={"classifier": what}))
    run.phase("generator", run.fresh())
    assert SEEN["logits"].shape == (16, 16)


# -- gradients of images -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["beforeaugmentation", "ofgenerated"])
def test_a_penalty_on_images_goes_through_what_stands_before_d(name: str) -> None:
    run = run_of(term(name), {"samplers": {"half": {"use": "able/half"}}})
    batch = run.fresh()
    with torch.no_grad():
        fake = run.networks["generator"](batch.z, batch.fake_label)
    images = (batch.real if name == "beforeaugmentation" else fake).clone().requires_grad_()
    logits = run.heads["adversarial"](run.networks["discriminator"](images / 2), batch.real_label)
    (expected,) = torch.autograd.grad(logits.sum(), images)
    run.phase("discriminator", batch)
    torch.testing.assert_close(SEEN["gradient"], expected, rtol=1e-4, atol=1e-7)
    assert not batch.real.requires_grad


def test_it_goes_with_joined_images_and_with_a_penalty_on_the_view() -> None:
    table = {"samplers": {"difference": {"use": "probe/difference"}}, "losses": {"r1": {"use": "probe/r1"}}}
    run = run_of(term("ofgenerated"), term("beforeaugmentation"), table)
    run.phase("discriminator", run.fresh())
    assert run.losses["discriminator/beforeaugmentation"].item() == pytest.approx(
        run.losses["discriminator/r1"].item(), rel=1e-5
    )


def test_images_that_an_attack_replaces_can_not_be_differentiated() -> None:
    with pytest.raises(GancoreError, match=r"differentiates the images 'real', .* may differentiate real_view"):
        run_of(term("beforeaugmentation"), SIGN)
    steps(run_of(term("ofgenerated"), SIGN), 1)


# -- a backbone that sees labels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("joined", [False, True])
def test_a_backbone_that_takes_labels_is_given_those_of_its_images(joined: bool) -> None:
    table: dict[str, Any] = {"networks": {"discriminator": {"use": "able/concatenating"}}}
    tables = [table, CONDITIONAL, {"losses": {"penalty": {"use": "standard/gradient-penalty"}}}]
    tables += [{"samplers": {"difference": {"use": "probe/difference"}}}] if joined else []
    run = run_of(*tables)
    batch = run.fresh()
    run.phase("discriminator", batch)
    (images, labels), (mixed, mixed_label) = SEEN["labels"]
    number = 12 if joined else 16
    assert torch.equal(images[:16], batch.real)
    assert batch.fake_label is not None
    expected = [batch.real_label, batch.fake_label[:number], *([batch.joined["fake"][1]] if joined else [])]
    assert torch.equal(labels, torch.cat(expected))
    assert len(mixed) == 16
    assert torch.equal(mixed_label, batch.real_label)


def test_a_backbone_that_takes_labels_is_refused_over_a_generator_that_ignores_them() -> None:
    with pytest.raises(GancoreError, match=r"networks.discriminator .* by labels that test: networks.generator"):
        run_of({"networks": {"discriminator": {"use": "able/concatenating"}}})


# -- networks that start from data ---------------------------------------------------------------------------------------


def test_a_network_starts_from_the_first_batch_once() -> None:
    table = {"networks": {"generator": {"use": "able/virtual"}, "discriminator": {"use": "probe/standardizing"}}}
    run = run_of(table)
    first = run_of(table).fresh()
    SEEN.clear()
    run.step()
    assert [torch.equal(real, first.real) for real in SEEN["initialized"]] == [True]
    run.step()
    assert len(SEEN["initialized"]) == 1
    assert run.networks["generator"].mean.abs().max() > 0
    assert run.networks["discriminator"].scale.item() == pytest.approx(1 / first.real.std().item(), rel=0.05)


def test_a_network_with_the_old_spelling_of_initialize_is_refused() -> None:
    with pytest.raises(TypeError, match="initialise would never be called; it is spelled initialize"):
        type("Virtual", (gancore.Generator,), {"initialise": None})


def test_a_network_may_be_a_subclass_of_what_takes_settings_of_its_classes() -> None:
    class Mixin:
        def __init_subclass__(cls, *, library: str = "", **_: Any) -> None:
            SEEN["library"] = library

    type("Mixed", (gancore.Generator, Mixin), {}, library="mine")
    assert SEEN["library"] == "mine"


def test_what_terms_prepared_is_of_the_networks_as_they_start() -> None:
    run = run_of(term("anchored"), {"networks": {"discriminator": {"use": "probe/standardizing"}}})
    run.step()
    assert run.losses["discriminator/anchored"].item() == 0


def test_a_classifier_behind_its_normalization_starts_from_images_as_it_sees_them() -> None:
    class Starting(gancore.Classifier):
        features, classes = 1, 1

        def initialize(self, real: Tensor, noise: torch.Generator) -> None:
            SEEN["classifier"] = real

    network = Normalized(Starting(), [0.5], [0.25], where="test")
    network.initialize(torch.full((1, 1, 1, 1), 0.5), torch.Generator())
    # 0.5 in [-1, 1] is 0.75 in [0, 1], one standard deviation above the mean.
    assert SEEN["classifier"].item() == pytest.approx(1)


def test_the_average_starts_where_the_network_does() -> None:
    table = {"networks": {"generator": {"use": "able/virtual"}}}
    run = steps(run_of(table), 1)
    assert run.average is not None
    assert torch.equal(run.average.network.mean, run.networks["generator"].mean)
