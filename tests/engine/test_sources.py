"""Further sides: streams of images, samplers of one of them, blends, expectations, D on features, and data of floats."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from gancore_testing.checks import NoSynchronization, gradients_elsewhere
from gancore_testing.components import NonSaturating, TinyDiscriminator
from torch import Tensor, nn
from torch.nn import functional as F

import gancore
from gancore import GancoreError
from gancore.contract.data import DatasetInfo, Drawn
from gancore.engine.batches import ImageStream, IndexStream, to_unit
from gancore.engine.run import Run
from gancore.engine.values import Batch
from gancore.files import toml
from gancore.parallel import distributed
from gancore.parallel.randomness import noise_for
from gancore.plan.load import make_plan
from gancore.plan.plan import Plan
from gancore.plan.vocabulary import vocabulary
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table, read
from gancore.recipe.tables import Augmentation
from gancore.registry import Registry
from gancore.testing import host
from tests import probe, standin
from tests.hosts import CPU, same, steps
from tests.probe.parts import Free

# -- the plugin of this module -----------------------------------------------------------------------------------------


class Coded(gancore.Dataset):
    """Images of one gray each, which is the image's number; the classes take turns."""

    def __init__(self, *, number: int = 120, first: int = 0, kinds: int = 4, planes: int = 1, image_size: int = 2) -> None:
        self.number, self.first, self.kinds = number, first, kinds
        self.shape = (planes, image_size, image_size)

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(self.kinds, self.shape[0], self.shape[1])

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        values = torch.arange(self.first, self.first + self.number, dtype=torch.uint8)
        return values.view(-1, 1, 1, 1).expand(-1, *self.shape).contiguous(), torch.arange(self.number) % self.kinds


class Points(gancore.Dataset):
    """Points in the plane, none of which an 8-bit pixel holds."""

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(2, 2, 1, continuous=True)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        values = torch.linspace(-0.99, 0.99, 80).add(1 / 3000).view(40, 2, 1, 1)
        return values.float(), torch.arange(40) % 2


class Weave(gancore.Sampler):
    """Every way in which a sampler may use sources: partners of a blend, images joined to generated ones, a side of its own."""

    def __init__(self, *, partner: str | None = None, joined: str | None = None, number: int = 3, added: bool = False) -> None:
        super().__init__()
        self.partner, self.joined, self.number = partner, joined, number
        self.adds = ("woven",) if added else ()
        self.joins = () if joined is None else ("fake",)
        self.blends = () if partner is None else ("real",)

    def reads(self) -> list[str]:
        return [label for label in (self.partner, self.joined) if label]

    def draw(self, batch: Drawn, noise: torch.Generator) -> Drawn:
        if self.joined:
            images, labels = batch.sides[self.joined]
            batch = attrs.evolve(batch, joined={"fake": (images[: self.number], labels[: self.number])})
        if self.partner:
            share = torch.rand(len(batch.real), generator=noise)
            batch = attrs.evolve(batch, blended={"real": (batch.sides[self.partner][0], share)})
        if self.adds:
            batch = attrs.evolve(batch, sides={**batch.sides, "woven": (batch.real.flip(0), batch.real_label.flip(0))})
        return batch


class Sly(gancore.Sampler):
    """Joins images without a word."""

    def draw(self, batch: Drawn, noise: torch.Generator) -> Drawn:
        return attrs.evolve(batch, joined={"fake": (batch.real[:1], batch.real_label[:1])})


class Nobody(gancore.Sampler):
    """Leaves nothing."""

    def select(self, labels: Tensor, seed: int) -> Tensor:
        return torch.empty(0, dtype=torch.int64)


SEEN: dict[str, Any] = {}
"""What `Spy` was given last."""


class Spy(gancore.LossTerm):
    """Asks for everything that a source gives to the discriminator's and the generator's loss."""

    def discriminator(
        self,
        *,
        labeled: Tensor,
        labeled_label: Tensor,
        labeled_view: Tensor,
        labeled_adversarial: Tensor,
        labeled_features: Tensor,
        labeled_classifier: Tensor,
        labeled_classifier_features: Tensor,
        real_adversarial: Tensor,
    ) -> Tensor:
        SEEN["discriminator"] = {name: value for name, value in locals().items() if name != "self"}
        return labeled_adversarial.square().mean() + 0 * real_adversarial.mean()

    def generator(self, *, labeled_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        SEEN["generator"] = {"labeled_adversarial": labeled_adversarial}
        return (fake_adversarial - labeled_adversarial).square().mean()


class Labeled(gancore.LossTerm):
    """A classifier's loss on a source."""

    def classifier(self, *, labeled_classifier: Tensor, labeled_label: Tensor) -> Tensor:
        return F.cross_entropy(labeled_classifier, labeled_label)


class Fool(gancore.LossTerm):
    """A classifier's loss through the discriminator that stands on it."""

    def classifier(self, *, real_adversarial: Tensor) -> Tensor:
        return real_adversarial.mean()


class Both(NonSaturating):
    """The game, of which an attack may raise either side."""

    def attacked_fake(self, *, fake_adversarial: Tensor) -> Tensor:
        return F.softplus(fake_adversarial)


class Third(gancore.Loop):
    """Discriminator, generator, classifier."""

    players = ("generator", "discriminator", "classifier")

    def iteration(self, run: Run) -> None:
        for player in ("discriminator", "generator", "classifier"):
            run.phase(player, run.fresh())


class Naming(Third):
    """Adds the real images with the labels that the classifier gives them."""

    adds = ("named",)

    def iteration(self, run: Run) -> None:
        batch = run.fresh()
        with torch.no_grad():
            labels = run.networks["classifier"](batch.real).argmax(1)
        batch = attrs.evolve(batch, sides={**batch.sides, "named": (batch.real, labels)})
        for player in self.players:
            run.phase(player, run.renew(batch))


class Named(gancore.LossTerm):
    """Remembers what the side is."""

    def discriminator(self, *, named: Tensor, named_label: Tensor, named_adversarial: Tensor) -> Tensor:
        SEEN["named"] = {"images": named, "labels": named_label}
        return named_adversarial.square().mean()


class Dropping(gancore.Classifier):
    """A classifier whose features are noisy while it trains."""

    frozen_needs_weights = False

    def __init__(self, *, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        self.features, self.classes = 6, classes
        self.hidden, self.drop = nn.Linear(channels * image_size**2, 6), nn.Dropout(0.5)
        self.linear = nn.Linear(6, classes)

    def embed(self, x: Tensor) -> Tensor:
        return self.drop(torch.tanh(self.hidden(x.flatten(1))))

    def classify(self, features: Tensor) -> Tensor:
        return self.linear(features)


class Sized(TinyDiscriminator):
    """A discriminator that remembers what core told it."""

    def __init__(self, *, channels: int, image_size: int) -> None:
        super().__init__(channels=channels, image_size=image_size)
        self.told = (channels, image_size)


class Keeps(gancore.Metric):
    """Keeps what it sees."""

    def __init__(self) -> None:
        self.real: list[Tensor] = []
        self.fake: list[Tensor] = []

    def reset(self) -> None:
        self.fake.clear()

    def update_real(self, *, images: Tensor) -> None:
        self.real.append(images)

    def update(self, *, images: Tensor) -> None:
        self.fake.append(images)

    def compute(self) -> dict[str, Any]:
        return {"number": len(torch.cat(self.fake))}


def _declared(**targets: str) -> Iterator[gancore.Component]:
    for name, target in targets.items():
        yield gancore.Component(name.replace("_", "-"), f"{__name__}:{target}", target)


@gancore.hookimpl
def gancore_datasets() -> Iterator[gancore.Component]:
    yield from _declared(coded="Coded", points="Points")


@gancore.hookimpl
def gancore_samplers() -> Iterator[gancore.Component]:
    yield from _declared(weave="Weave", nobody="Nobody", sly="Sly")


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    yield from _declared(spy="Spy", labeled="Labeled", fool="Fool", both="Both", named="Named")


@gancore.hookimpl
def gancore_loops() -> Iterator[gancore.Component]:
    yield from _declared(third="Third", naming="Naming")


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    yield from _declared(dropping="Dropping", sized="Sized")


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    yield from _declared(keeps="Keeps")


REGISTRY = Registry.of({"standard": standin, "host": host, "probe": probe, "toy": sys.modules[__name__]})

GAME: dict[str, Any] = {
    "run": {"iterations": 8, "batch_size": 12, "latent_dim": 4, "precision": "float32", "log_every": 2},
    "data": {"use": "toy/coded"},
    "networks": {"generator": {"use": "host/generator"}, "discriminator": {"use": "host/discriminator"}},
    "heads": {"adversarial": {"use": "standard/linear"}},
    "losses": {"adversarial": {"use": "standard/non-saturating"}},
}
AVOID: dict[str, Any] = {"sources": {"avoid": {}}}
CLASSIFIER: dict[str, Any] = {"networks": {"classifier": {"use": "host/classifier"}}}
ON: dict[str, Any] = merge(CLASSIFIER, {"networks": {"discriminator": {"on": "classifier"}}})


def take(label: str, keep: list[int], of: str | None = None) -> dict[str, Any]:
    return {"samplers": {label: {"use": "standard/take-classes", "keep": keep, **({"of": of} if of else {})}}}


def plan_of(*tables: dict[str, Any], base: dict[str, Any] | None = None) -> Plan:
    table = base or GAME
    for over in tables:
        table = merge(table, over)
    return make_plan(check_table(table, REGISTRY, name="test"), REGISTRY)


def run_of(*tables: dict[str, Any], base: dict[str, Any] | None = None) -> Run:
    return Run(plan_of(*tables, base=base), CPU)


def numbers(images: Tensor) -> list[int]:
    """Return the numbers of images of `Coded`."""
    return ((images[:, 0, 0, 0] + 1) * 127.5).round().long().tolist()


def epoch(run: Run, source: str | None = None) -> list[int]:
    """Return the numbers of the first 120 images of a stream."""
    found: list[int] = []
    for _ in range(10):
        batch = run.fresh()
        found += numbers(batch.real if source is None else batch.sides[source][0])
    return found


# -- streams -----------------------------------------------------------------------------------------------------------


def test_a_source_is_a_stream_of_the_data_in_an_order_of_its_own() -> None:
    orders = [epoch(run_of(AVOID, {"sources": {"partner": {}}}), source) for source in (None, "avoid", "partner")]
    assert all(sorted(order) == list(range(120)) for order in orders)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        # Of two random orders, one place in 120 agrees on average.
        assert sum(x == y for x, y in zip(orders[a], orders[b], strict=True)) < 10
    assert epoch(run_of(AVOID), "avoid") == orders[1]
    assert epoch(run_of(AVOID, {"run": {"seed": 1}}), "avoid") != orders[1]


def test_images_and_labels_of_a_source_stay_together() -> None:
    run = run_of(AVOID)
    for _ in range(12):
        images, labels = run.fresh().sides["avoid"]
        assert images.shape == (12, 1, 2, 2)
        assert [number % 4 for number in numbers(images)] == labels.tolist()


def test_a_shared_source_sees_what_the_samplers_leave_of_the_data() -> None:
    run = run_of(AVOID, take("some", [0, 2]))
    assert {number % 4 for number in epoch(run, "avoid")} == {0, 2}
    assert {number % 4 for number in epoch(run)} == {0, 2}
    counts = Counter(epoch(run_of(AVOID, take("some", [0, 2])), "avoid"))
    assert sorted(counts) == [number for number in range(120) if number % 4 in (0, 2)]
    assert set(counts.values()) == {2}


def test_of_selects_from_a_source_alone_and_after_the_data_whatever_the_order() -> None:
    two = {"sources": {"avoid": {}, "partner": {}}}
    run = run_of(two, take("a", [1], "avoid"), take("b", [1, 2]))
    batches = [run.fresh() for _ in range(10)]
    assert {int(label) for batch in batches for label in batch.real_label} == {1, 2}
    assert {int(label) for batch in batches for label in batch.sides["avoid"][1]} == {1}
    assert {int(label) for batch in batches for label in batch.sides["partner"][1]} == {1, 2}
    assert run.batches.class_counts == [0, 30, 30, 0]


def test_of_per_class_draws_the_same_few_again_and_again() -> None:
    few = {"samplers": {"few": {"use": "standard/per-class", "count": 3, "of": "avoid"}}}
    run = run_of(AVOID, few)
    counts = Counter(epoch(run, "avoid"))
    assert len(counts) == 12
    assert set(counts.values()) == {10}
    assert Counter(number % 4 for number in counts) == dict.fromkeys(range(4), 3)
    assert sorted(epoch(run_of(AVOID, few))) == list(range(120))
    assert set(counts) != set(epoch(run_of(AVOID, few, {"run": {"seed": 1}}), "avoid"))


def test_frequencies_belong_to_their_stream_and_a_shared_source_keeps_the_datas() -> None:
    tail = {"samplers": {"tail": {"use": "standard/long-tail", "ratio": 10.0}}}
    balance = {"use": "standard/class-balanced"}

    def shares(table: dict[str, Any]) -> dict[str, list[float]]:
        run = run_of(AVOID, tail, table, {"run": {"batch_size": 4000}})
        batch = run.fresh()
        labels = {"data": batch.real_label, "avoid": batch.sides["avoid"][1]}
        return {name: (torch.bincount(found, minlength=4) / 4000).tolist() for name, found in labels.items()}

    counts = run_of(tail).batches.class_counts
    long = [count / sum(counts) for count in counts]
    even = [0.25] * 4
    for table, data, avoid in (
        ({}, long, long),
        ({"samplers": {"even": {**balance, "of": "avoid"}}}, long, even),
        ({"samplers": {"even": balance}}, even, even),
    ):
        found = shares(table)
        assert found["data"] == pytest.approx(data, abs=0.03)
        assert found["avoid"] == pytest.approx(avoid, abs=0.03)


def test_another_data_set_is_a_source_that_the_datas_samplers_leave_alone() -> None:
    other = {"sources": {"avoid": {"use": "toy/coded", "number": 40, "first": 200, "kinds": 2}}}
    run = run_of(other, take("some", [3]))
    assert {number % 4 for number in epoch(run)} == {3}
    assert sorted(set(epoch(run, "avoid"))) == list(range(200, 240))
    run = run_of(other, take("some", [3]), take("few", [1], "avoid"))
    assert set(epoch(run, "avoid")) == set(range(201, 240, 2))
    assert run.batches.class_counts == [0, 0, 0, 30]


def test_processes_share_an_epoch_of_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        run = run_of(AVOID)
        monkeypatch.setattr(distributed, "world_size", lambda: 2)
        monkeypatch.setattr(run.batches, "rows", distributed.own_slice(run.recipe.run.batch_size))
        runs.append([n for _ in range(10) for n in numbers(run.fresh().sides["avoid"][0])])
        monkeypatch.undo()
    assert sorted(runs[0] + runs[1]) == list(range(120))


def test_a_source_changes_no_other_draw() -> None:
    crop = {"data": {"flip": True, "crop_padding": 1}, "losses": {"penalty": {"use": "standard/gradient-penalty"}}}
    plain = run_of(crop, take("some", [0, 1]))
    beside = run_of(crop, take("some", [0, 1]), AVOID, take("few", [1], "avoid"))
    assert same(steps(plain, 3), steps(beside, 3)) == []
    a, b = plain.fresh(), beside.fresh()
    assert torch.equal(a.real, b.real)
    assert a.z is not None
    assert b.z is not None
    assert torch.equal(a.z, b.z)
    # Nor does a further source change the first.
    alone, two = run_of(crop, AVOID), run_of(crop, AVOID, {"sources": {"a": {}}})
    assert torch.equal(alone.fresh().sides["avoid"][0], two.fresh().sides["avoid"][0])


def test_sources_are_augmented_each_with_draws_of_its_own() -> None:
    """All images are the same one, so that equal draws would show."""
    table = {"data": {"use": "toy/coded", "number": 1, "kinds": 1, "first": 200, "image_size": 4, "crop_padding": 3}}
    batch = run_of(table, AVOID).fresh()
    images = batch.sides["avoid"][0]
    assert len({tuple(image.flatten().tolist()) for image in images}) > 4
    assert not torch.equal(images, batch.real)


JOINED = {"samplers": {"weave": {"use": "toy/weave", "joined": "avoid"}}}


def expectation(share: float, objective: str = "standard/non-saturating", **more: Any) -> dict[str, Any]:
    """Return the discriminator's loss as an expectation over generated and avoided images (DSGAN, Eq. 2)."""
    discriminator = {"use": objective, "players": ["discriminator"]}
    generated = {**discriminator, "weight": 1 - share}
    avoided = {**discriminator, "weight": share, "reads": {"fake": "avoid"}}
    adversarial = {"use": objective, "players": ["generator"]}
    return {"losses": {"adversarial": adversarial, "generated": generated, "avoided": avoided, **more}}


PENALTIES = {
    "generated_penalty": {"use": "standard/gradient-penalty", "weight": 7.0},
    "avoided_penalty": {"use": "standard/gradient-penalty", "weight": 3.0, "reads": {"fake": "avoid"}},
}
EXPECTATION = expectation(0.3)
BLEND = {"samplers": {"weave": {"use": "toy/weave", "partner": "avoid"}}}
PENALTY = {"losses": {"penalty": {"use": "standard/gradient-penalty", "weight": 10.0}}}
FREE = {"attacks": {"free": {"use": "probe/free"}}, "loop": {"use": "probe/replay"}}
SIGN = {"attacks": {"sign": {"use": "probe/sign"}}}
THIRD = {"loop": {"use": "toy/third"}, "sources": {"labeled": {}}, "losses": {"classes": {"use": "toy/labeled"}}}
ABILITIES: dict[str, list[dict[str, Any]]] = {
    "a source that nobody reads": [AVOID],
    "joined images": [AVOID, JOINED, PENALTY],
    "an expectation over two sides": [AVOID, expectation(0.3, **PENALTIES)],
    "an expectation over two sides, free replay": [AVOID, EXPECTATION, FREE],
    "an expectation over two sides, attack with own gradient": [AVOID, EXPECTATION, SIGN],
    "a side that a sampler adds": [
        {"samplers": {"weave": {"use": "toy/weave", "added": True}}},
        {"losses": {"woven": {"use": "standard/hinge", "players": ["discriminator"], "reads": {"fake": "woven"}}}},
    ],
    "a blend": [AVOID, BLEND, PENALTY],
    "a blend, free replay": [AVOID, BLEND, FREE],
    "a blend, measured before D": [AVOID, BLEND, {"samplers": {"dim": {"use": "probe/dim"}}}],
    "a blend, attack with own gradient": [AVOID, BLEND, SIGN],
    "on features": [ON, PENALTY],
    "on features, free replay": [ON, FREE],
    "on features, R1": [ON, {"losses": {"r1": {"use": "probe/r1"}}}],
    "on features, bfloat16": [ON, {"run": {"precision": "bfloat16"}}],
    "on features that are trained and noisy": [
        ON,
        THIRD,
        AVOID,
        EXPECTATION,
        {"networks": {"classifier": {"use": "toy/dropping"}}},
    ],
    "on features of a classifier trained through D": [ON, THIRD, {"losses": {"classes": {"use": "toy/fool"}}}],
    "a source as a side": [CLASSIFIER, {"sources": {"labeled": {}}, "losses": {"spy": {"use": "toy/spy"}}}],
    "points": [AVOID, {"data": {"use": "toy/points"}}, BLEND],
}
each = pytest.mark.parametrize("tables", ABILITIES.values(), ids=ABILITIES)


@each
def test_each_ability_trains(tables: list[dict[str, Any]]) -> None:
    whole = steps(run_of(*tables), 5)
    assert all(value.isfinite() for value in whole.losses.values())
    untrained = run_of(*tables)
    for player in whole.players:
        pairs = zip(whole.players[player].parameters, untrained.players[player].parameters, strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs), f"the {player} has not moved"


@each
def test_a_turn_leaves_gradients_on_its_own_player_only(tables: list[dict[str, Any]]) -> None:
    assert gradients_elsewhere(run_of(*tables)) == []


@each
def test_an_iteration_never_waits_for_the_device(tables: list[dict[str, Any]]) -> None:
    run = steps(run_of(*tables), 1)
    with NoSynchronization():
        run.step()


def test_a_recipe_with_a_shared_source_is_the_same_after_a_trip_through_a_file() -> None:
    recipe = check_table(merge(GAME, merge(AVOID, take("few", [1], "avoid"))), REGISTRY, name="test")
    again = check_table(toml.tomllib.loads(toml.dumps(recipe.table)), REGISTRY, name="test")
    assert again.table == recipe.table
    assert again.entries["sources", "avoid"].shared
    assert make_plan(again, REGISTRY).samplers["few"].keys.of == "avoid"
    assert plan_of(AVOID, {"sources": {"avoid": False}}).sources == {}
    assert plan_of(AVOID, {"sources": False}).sources == {}


# -- sources as sides of a loss ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["standard/linear", "standard/projection"])
def test_a_source_is_a_side_of_a_loss(head: str) -> None:
    table = {"sources": {"labeled": {}}, "losses": {"spy": {"use": "toy/spy"}}, "heads": {"adversarial": {"use": head}}}
    run = run_of(table, CLASSIFIER)
    batch = run.fresh()
    images, labels = batch.sides["labeled"]
    discriminator, classifier = run.networks["discriminator"], run.networks["classifier"]
    with torch.no_grad():
        features = discriminator(images)
        logit = run.heads["adversarial"](features, labels)
        embedded = classifier.embed(images)
    run.phase("discriminator", batch)
    seen = SEEN["discriminator"]
    assert torch.equal(seen["labeled"], images)
    assert torch.equal(seen["labeled_view"], images)
    assert torch.equal(seen["labeled_label"], labels)
    torch.testing.assert_close(seen["labeled_features"], features, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(seen["labeled_adversarial"], logit, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(seen["labeled_classifier_features"], embedded, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(seen["labeled_classifier"], classifier.classify(embedded), rtol=1e-5, atol=1e-6)
    assert seen["labeled_adversarial"].requires_grad
    assert not seen["labeled_classifier"].requires_grad
    run.phase("generator", batch)
    assert not SEEN["generator"]["labeled_adversarial"].requires_grad


def test_a_classifiers_loss_takes_logits_and_labels_of_a_source() -> None:
    run = run_of(CLASSIFIER, THIRD)
    batch = run.fresh()
    images, labels = batch.sides["labeled"]
    expected = F.cross_entropy(run.networks["classifier"](images), labels)
    run.phase("classifier", batch)
    assert run.losses["classifier/classes"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert not torch.equal(labels, batch.real_label)


def test_the_vocabulary_has_all_of_a_source() -> None:
    names = vocabulary(plan_of(CLASSIFIER, {"sources": {"labeled": {}}}))
    for what in ("", "_label", "_view", "_adversarial", "_features", "_activations", "_classifier", "_classifier_features"):
        assert f"labeled{what}" in names


# -- blends ------------------------------------------------------------------------------------------------------------


def views(run: Run) -> list[Tensor]:
    """Return a list to which every batch that the discriminator sees will be added."""
    found: list[Tensor] = []
    run.networks["discriminator"].register_forward_pre_hook(lambda _m, inputs: found.append(inputs[0].detach().clone()))
    return found


@pytest.mark.parametrize("on", [False, True], ids=["images", "features"])
def test_real_images_are_blended_where_the_discriminator_sees_them(on: bool) -> None:
    run = run_of(ON if on else {}, AVOID, BLEND)
    batch = run.fresh()
    partner, share = batch.blended["real"]
    assert torch.equal(partner, batch.sides["avoid"][0])
    assert 0 <= share.min() < 0.3 < 0.7 < share.max() <= 1
    a, b = batch.real, partner
    share = share.view(-1, 1, 1, 1)
    if on:
        a, b = (run.networks["classifier"].embed(x)[:, :, None, None] for x in (a, b))
    seen = views(run)
    run.phase("discriminator", batch)
    torch.testing.assert_close(seen[0][:12], (share * a + (1 - share) * b).detach())
    batch.blended = {"real": (partner, torch.ones(12))}
    run.phase("discriminator", batch)
    torch.testing.assert_close(seen[1][:12], a.detach())


def test_both_sides_of_a_blend_are_measured_with_draws_of_their_own() -> None:
    table = {"data": {"use": "toy/coded", "first": 130, "number": 1, "kinds": 1}, "samplers": {"dim": {"use": "probe/dim"}}}
    run = run_of(AVOID, BLEND, table)
    batch = run.fresh()
    batch.blended = {"real": (batch.blended["real"][0], torch.full((12,), 0.25))}
    seen = views(run)
    run.phase("discriminator", batch)
    value = batch.real[0, 0, 0, 0].item()
    found = {round(x / value, 3) for x in seen[0][:12].flatten().tolist()}
    assert found <= {0.0, 0.25, 0.75, 1.0}
    assert {0.25, 0.75} <= found


# -- expectations over two sides -----------------------------------------------------------------------------------------

OBJECTIVES = ["minimax", "non-saturating", "hinge", "least-squares", "wasserstein", "relativistic"]


def logits(run: Run, x: Tensor, label: Tensor) -> Tensor:
    found: Tensor = run.heads["adversarial"](run.networks["discriminator"](x), label)
    return found


@pytest.mark.parametrize("head", ["standard/linear", "standard/projection"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_loss_is_an_expectation_over_two_sides(objective: str, head: str) -> None:
    run = run_of(AVOID, expectation(0.3, f"standard/{objective}"), {"heads": {"adversarial": {"use": head}}})
    batch = run.fresh()
    avoided, avoided_label = batch.sides["avoid"]
    assert batch.z is not None
    assert batch.fake_label is not None
    with torch.no_grad():
        fake = run.networks["generator"](batch.z, batch.fake_label)
    real = logits(run, batch.real, batch.real_label)
    term: Any = run.terms["adversarial"]
    values = [
        term.discriminator(real_adversarial=real, fake_adversarial=logits(run, images, label))
        for images, label in ((fake, batch.fake_label), (avoided, avoided_label))
    ]
    expected = 0.7 * values[0] + 0.3 * values[1]
    parameters = run.players["discriminator"].parameters
    gradients = torch.autograd.grad(expected, parameters)
    seen = views(run)
    run.phase("discriminator", batch)
    # The real images go through once, whatever is held against them.
    assert [len(x) for x in seen] == [36]
    assert run.losses["discriminator/generated"].item() == pytest.approx(values[0].item(), rel=1e-5)
    assert run.losses["discriminator/avoided"].item() == pytest.approx(values[1].item(), rel=1e-5)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)
    # The generator's turn knows nothing of it.
    run.phase("generator", batch)
    assert {name for name in run.losses if name.startswith("generator/")} == {"generator/adversarial"}


def test_a_penalty_reads_another_side_too() -> None:
    run = run_of(AVOID, expectation(0.3, "standard/wasserstein", **PENALTIES))
    batch = run.fresh()
    assert batch.z is not None
    with torch.no_grad():
        fake = run.networks["generator"](batch.z)
    values = {}
    for label, images in (("generated_penalty", fake), ("avoided_penalty", batch.sides["avoid"][0])):
        term: Any = run.terms[label]
        noise = noise_for(CPU, run.seed, "loss", label, "interpolate", run.iteration, run.turn, run.rank)
        mixed = term.interpolate(real_view=batch.real, fake_view=images, noise=noise).detach().requires_grad_()
        values[label] = term.discriminator(mixed_view=mixed, mixed_adversarial=logits(run, mixed, batch.real_label)).item()
    run.phase("discriminator", batch)
    for label, value in values.items():
        assert run.losses[f"discriminator/{label}"].item() == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_0_is_the_plain_game_and_1_has_no_generated_images_in_it(share: float) -> None:
    run = run_of(AVOID, expectation(share))
    batch = run.fresh()
    run.phase("discriminator", batch)
    other = run_of()
    plain = Batch(batch.real, batch.real_label, z=batch.z, fake_label=batch.fake_label)
    if share == 1.0:
        plain.generated["fake"] = batch.sides["avoid"][0]
    other.phase("discriminator", plain)
    label = "avoided" if share else "generated"
    assert run.losses[f"discriminator/{label}"].item() == pytest.approx(
        other.losses["discriminator/adversarial"].item(), rel=1e-6
    )
    assert same_weights(run.networks["discriminator"], other.networks["discriminator"])


def same_weights(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in pairs)


def test_a_side_that_a_sampler_adds_is_seen_as_it_is() -> None:
    term = {"woven": {"use": "standard/hinge", "players": ["discriminator"], "reads": {"fake": "woven"}}}
    run = run_of({"samplers": {"weave": {"use": "toy/weave", "added": True}}, "losses": term})
    batch = run.fresh()
    real, woven = logits(run, batch.real, batch.real_label), logits(run, batch.real.flip(0), batch.real_label.flip(0))
    expected = F.relu(1 - real).mean() + F.relu(1 + woven).mean()
    run.phase("discriminator", batch)
    assert run.losses["discriminator/woven"].item() == pytest.approx(expected.item(), rel=1e-5)


NAMED: dict[str, Any] = {**CLASSIFIER, **THIRD, "losses": {"named": {"use": "toy/named"}, **THIRD["losses"]}}


def test_a_side_that_a_loop_adds_is_seen_with_the_labels_that_it_gives() -> None:
    run, twin = (run_of(NAMED, {"loop": {"use": "toy/naming"}}) for _ in range(2))
    steps(run, 1)
    batch = twin.fresh()
    assert torch.equal(SEEN["named"]["images"], batch.real)
    with torch.no_grad():
        labels = twin.networks["classifier"](batch.real).argmax(1)
    assert torch.equal(SEEN["named"]["labels"], labels)
    # They are none of the data's, and another update rule has no such side.
    assert not torch.equal(labels, batch.real_label)
    with pytest.raises(GancoreError, match="asks for 'named' in its discriminator, which nothing in this recipe provides"):
        plan_of(NAMED)


def test_a_loop_that_does_not_add_what_it_says_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Naming, "iteration", Third.iteration)
    with pytest.raises(GancoreError, match="gives the discriminator a batch without the side 'named', which it declares"):
        steps(run_of(NAMED, {"loop": {"use": "toy/naming"}}), 1)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"losses": {"adversarial": {"players": ["critic"]}}}, "players names 'critic', for which it has no loss"),
        ({"losses": {"adversarial": {"reads": {"fake": "avoid"}}}}, "asks for 'avoid_adversarial' .* which nothing"),
        (
            {"sources": {"avoid": {}}, "losses": {"avoided": {"use": "standard/hinge", "reads": {"fake": "avoid"}}}},
            "nothing in its loss of the generator depends on the generator; say in whose losses",
        ),
        ({"losses": {"adversarial": {"reads": {"faek": "avoid"}}}}, "reads replaces 'faek', which no parameter of it names"),
        ({"samplers": {"weave": {"use": "toy/weave", "added": True}}, "sources": {"woven": {}}}, "the label 'woven' is taken"),
        ({**NAMED, "loop": {"use": "toy/naming"}, "sources": {"named": {}}}, "the label 'named' is taken"),
    ],
)
def test_sides_that_are_not_there_are_refused(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GancoreError, match=sentence):
        plan_of(table)


def test_a_sampler_that_joins_without_saying_so_is_refused() -> None:
    with pytest.raises(GancoreError, match=r"gives the sides fake, which it does not declare; .* `joins`"):
        run_of({"samplers": {"sly": {"use": "toy/sly"}}}).fresh()


def attack_of(run: Run) -> Free:
    assert isinstance(run.attack, Free)
    return run.attack


@pytest.mark.parametrize("on", [False, True], ids=["images", "features"])
def test_a_shared_gradient_is_that_of_the_whole_loss(on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(AVOID, expectation(0.3, **PENALTIES), FREE, ON if on else {})
    batch = run.fresh()
    attack = attack_of(run)
    given: list[Tensor] = []
    monkeypatch.setattr(attack, "update", lambda grad, _x: given.append(grad.clone()))
    assert batch.z is not None
    leaf = attack.perturb(batch.real).detach().requires_grad_()
    with torch.no_grad():
        fake = run.networks["generator"](batch.z)

    def see(x: Tensor) -> Tensor:
        return run.networks["classifier"].embed(x)[:, :, None, None] if on else x

    term: Any = run.terms["generated_penalty"]
    expected = torch.zeros(())
    pairs = ((0.7, "generated_penalty", fake), (0.3, "avoided_penalty", batch.sides["avoid"][0]))
    for share, label, images in pairs:
        real = logits(run, see(leaf), batch.real_label)
        loss = F.softplus(-real).mean() + F.softplus(logits(run, see(images), batch.real_label)).mean()
        noise = noise_for(CPU, run.seed, "loss", label, "interpolate", run.iteration, run.turn, run.rank)
        mixed = term.interpolate(real_view=see(leaf), fake_view=see(images), noise=noise)
        penalty = term.discriminator(mixed_view=mixed, mixed_adversarial=logits(run, mixed, batch.real_label))
        expected = expected + share * (loss + 10 * penalty)
    (gradient,) = torch.autograd.grad(expected, leaf)
    run.phase("discriminator", batch)
    assert len(given) == 1
    torch.testing.assert_close(given[0], gradient, rtol=1e-4, atol=1e-7)


# -- on features -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["classifier", "judge"])
def test_the_discriminator_is_built_for_features_and_sees_them(label: str) -> None:
    """Whether the classifier comes before the discriminator in the alphabet, or after it."""
    networks = {"discriminator": {"use": "toy/sized", "on": label}, label: {"use": "host/classifier"}}
    run = run_of({"networks": networks})
    assert run.networks["discriminator"].told == (8, 1)
    batch = run.fresh()
    assert batch.z is not None
    seen = views(run)
    embed = run.networks[label].embed
    expected = torch.cat([embed(batch.real), embed(run.networks["generator"](batch.z))]).detach()
    run.phase("discriminator", batch)
    assert seen[0].shape == (24, 8, 1, 1)
    assert seen[0].dtype == torch.float32
    torch.testing.assert_close(seen[0][:, :, 0, 0], expected)
    assert run.networks["discriminator"].layers[1].weight.shape == (16, 8)


def test_a_classifier_behind_its_own_normalization_can_be_stood_on() -> None:
    run = run_of(ON, {"networks": {"classifier": {"input_mean": [0.2], "input_std": [0.5]}}})
    batch = run.fresh()
    seen = views(run)
    run.phase("discriminator", batch)
    inner = run.networks["classifier"].network
    expected = inner.embed(((batch.real + 1) / 2 - 0.2) / 0.5)
    torch.testing.assert_close(seen[0][:12, :, 0, 0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
def test_gradient_flows_through_the_classifier_to_the_generator_and_stays_nowhere_else(trained: bool) -> None:
    run = run_of(ON, *([THIRD] if trained else []))
    assert run.networks["classifier"].linear.weight.requires_grad == trained
    batch = run.fresh()
    assert batch.z is not None
    assert gradients_elsewhere(run) == []
    run = run_of(ON, *([THIRD] if trained else []))
    classifier, made = run.networks["classifier"], run.networks["generator"]
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    batch = run.fresh()
    features = classifier.embed(made(batch.z, batch.fake_label))[:, :, None, None]
    loss = F.softplus(-logits(run, features, batch.real_label)).mean()
    gradients = torch.autograd.grad(loss, list(made.parameters()))
    run.phase("generator", batch)
    for parameter, gradient in zip(made.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        assert gradient.abs().max() > 0
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-7)
    assert all(parameter.grad is None for parameter in classifier.parameters())
    run.phase("discriminator", batch)
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())


def test_a_penalty_on_features_differentiates_features() -> None:
    run = run_of(ON, {"losses": {"r1": {"use": "probe/r1"}}})
    batch = run.fresh()
    features = run.networks["classifier"].embed(batch.real)[:, :, None, None].detach().requires_grad_()
    (gradient,) = torch.autograd.grad(logits(run, features, batch.real_label).sum(), features)
    run.phase("discriminator", batch)
    expected = gradient.square().sum((1, 2, 3)).mean() / 2
    assert run.losses["discriminator/r1"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_classifier_may_be_trained_through_the_discriminator_on_it() -> None:
    run = run_of(ON, THIRD, {"losses": {"classes": {"use": "toy/fool"}}})
    batch = run.fresh()
    classifier = run.networks["classifier"]
    loss = logits(run, classifier.embed(batch.real)[:, :, None, None], batch.real_label).mean()
    expected = torch.autograd.grad(loss, [classifier.hidden.weight])[0]
    run.phase("classifier", batch)
    torch.testing.assert_close(classifier.hidden.weight.grad, expected, rtol=1e-4, atol=1e-7)
    assert all(p.grad is None for p in run.players["discriminator"].parameters)


def embeddings(run: Run) -> int:
    """Return how many batches a classifier embeds in an iteration."""
    classifier, calls = run.networks["classifier"], 0
    embed = classifier.embed

    def counted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return embed(x)

    classifier.embed = counted
    run.step()
    return calls


# -- data of floats ----------------------------------------------------------------------------------------------------


def test_floats_pass_as_they_are_and_bytes_are_scaled() -> None:
    given = torch.tensor([-1.0, -0.1234567, 0.0, 0.7654321]).view(4, 1, 1, 1)
    assert torch.equal(to_unit(given), given)
    assert to_unit(given).dtype == torch.float32
    byte = torch.tensor([0, 255, 51], dtype=torch.uint8).view(3, 1, 1, 1)
    torch.testing.assert_close(to_unit(byte).flatten(), torch.tensor([-1.0, 1.0, -0.6]))
    assert byte.flatten().tolist() == [0, 255, 51]


def test_a_batch_of_floats_is_no_window_on_the_data() -> None:
    images, labels = Points().load("train")
    before = images.clone()
    indices = IndexStream(len(labels), 5, seed=0)
    batch, _ = ImageStream(images, labels, indices, CPU, Augmentation()).batch(0, noise_for(CPU, 0))
    assert torch.equal(batch, before[indices.indices(0)])
    batch.add_(1)
    assert torch.equal(images, before)


POINTS = {"data": {"use": "toy/points"}, "metrics": {"keeps": {"use": "toy/keeps"}}, "evaluation": {"samples": 20}}


def test_points_are_drawn_to_the_last_digit() -> None:
    run = run_of(POINTS, AVOID)
    known = {tuple(point) for point in Points().load("train")[0].flatten(1).tolist()}
    batch = run.fresh()
    for images in (batch.real, batch.sides["avoid"][0]):
        assert images.dtype == torch.float32
        assert {tuple(point) for point in images.flatten(1).tolist()} <= known


# -- bad input ---------------------------------------------------------------------------------------------------------


def refusal(work: Callable[[], Any]) -> str:
    """Return the sentence with which something is refused."""
    with pytest.raises(GancoreError) as caught:
        work()
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith("."), text
    assert text.count("test:") <= 1, f"the place is named twice: {text}"
    return text


def drawn(*tables: dict[str, Any]) -> Callable[[], Any]:
    return lambda: run_of(*tables).fresh()


WRONG: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "a source of another size": (
        [{"sources": {"avoid": {"use": "host/noise"}}}],
        ["sources.avoid", "1 x 8 x 8", "1 x 2 x 2", "image_size"],
    ),
    "a source of other channels": (
        [{"sources": {"avoid": {"use": "toy/coded", "planes": 3}}}],
        ["sources.avoid", "3 x 2 x 2", "1 x 2 x 2"],
    ),
    "points for images": (
        [{"data": {"use": "toy/coded", "planes": 2, "image_size": 1}, "sources": {"avoid": {"use": "toy/points"}}}],
        ["sources.avoid", "points of 2 x 1 x 1", "images of 2 x 1 x 1"],
    ),
    "a source with more classes": (
        [{"sources": {"avoid": {"use": "toy/coded", "kinds": 7}}}],
        ["sources.avoid", "7 classes", "have 4", "choose"],
    ),
    "no class": ([AVOID, take("few", [], "avoid")], ["samplers.few", "keep names no class"]),
    "a class that the data do not know": ([AVOID, take("few", [4], "avoid")], ["samplers.few", "class 4", "0 to 3"]),
    "a class that is not left": (
        [AVOID, take("some", [1, 2]), take("few", [3], "avoid")],
        ["samplers.few", "class 3", "there is no image of it", "[1, 2]"],
    ),
    "a class that the source lacks": (
        [{"sources": {"avoid": {"use": "toy/coded", "kinds": 2}}}, take("few", [3], "avoid")],
        ["samplers.few", "class 3", "there is no image of it"],
    ),
    "fewer labels than asked": (
        [AVOID, {"samplers": {"few": {"use": "standard/per-class", "count": 31, "of": "avoid"}}}],
        ["samplers.few", "only 30 images", "count = 31", "lower count"],
    ),
    "nothing left": (
        [AVOID, {"samplers": {"none": {"use": "toy/nobody", "of": "avoid"}}}],
        ["samplers.none", "leaves no image of the 120", "select more"],
    ),
    "a sampler of a source that is not there": (
        [JOINED],
        ["samplers.weave", "'avoid'", "its sources: none", "add [sources.avoid]"],
    ),
    "of a source that is not there": (
        [AVOID, take("few", [1], "avoit")],
        ["samplers.few", "'avoit'", "did you mean 'avoid'?", "its sources: avoid"],
    ),
    "of on a sampler that draws": (
        [AVOID, {"samplers": {"weave": {"use": "toy/weave", "of": "avoid"}}}],
        ["samplers.weave", "leave out `of`"],
    ),
    "of on a sampler that measures": (
        [AVOID, {"samplers": {"dim": {"use": "probe/dim", "of": "avoid"}}}],
        ["samplers.dim", "leave out `of`"],
    ),
    "of that is no text": ([AVOID, {"samplers": {"few": {**take("few", [1])["samplers"]["few"], "of": 3}}}], ["of", "3"]),
    "on a network that is not there": (
        [CLASSIFIER, {"networks": {"discriminator": {"on": "clasifier"}}}],
        ["networks.discriminator", "'clasifier'", "correct `on`"],
    ),
    "on itself": ([{"networks": {"discriminator": {"on": "discriminator"}}}], ["networks.discriminator", "no classifier"]),
    "on a generator": ([{"networks": {"discriminator": {"on": "generator"}}}], ["networks.discriminator", "no classifier"]),
    "on an encoder": (
        [
            {
                "networks": {"discriminator": {"on": "encoder"}, "encoder": {"use": "probe/encoder"}},
                "losses": {"i": {"use": "probe/invert"}},
                "loop": {"use": "probe/three"},
            }
        ],
        ["networks.discriminator", "no classifier", "name a classifier"],
    ),
    "a generator on features": (
        [CLASSIFIER, {"networks": {"generator": {"on": "classifier"}}}],
        ["networks.generator", "only a discriminator", "`on`"],
    ),
    "a classifier on features": (
        [CLASSIFIER, {"networks": {"classifier": {"on": "classifier"}}}],
        ["networks.classifier", "only a discriminator", "`on`"],
    ),
    "a discriminator that can't see features": (
        [CLASSIFIER, {"networks": {"discriminator": {"use": "standard/sndcgan-discriminator", "on": "classifier"}}}],
        ["networks.discriminator", "not 1"],
    ),
    "settings without a set": (
        [{"sources": {"avoid": {"number": 3}}}],
        ["sources.avoid", "no `use`", "number", 'of = "avoid"'],
    ),
    "a source that is no table": ([{"sources": {"avoid": 3}}], ["sources.avoid"]),
    "sources that are no tables": ([{"sources": 3}], ["sources must hold tables"]),
    "a set that does not exist": ([{"sources": {"avoid": {"use": "toy/code"}}}], ["sources.avoid", "toy/code", "toy/coded"]),
    "a sampler as a set": ([{"sources": {"avoid": {"use": "toy/weave"}}}], ["sources.avoid", "not a dataset"]),
    "an unknown setting of a set": (
        [{"sources": {"avoid": {"use": "toy/coded", "nubmer": 3}}}],
        ["sources.avoid", "did you mean 'number'?"],
    ),
    "a term of a source that is not there": (
        [CLASSIFIER, {"loop": THIRD["loop"], "losses": THIRD["losses"]}],
        ["losses.classes", "'labeled_classifier'", "[sources.labeled]"],
    ),
    **{
        f"a source called {label}": ([{"sources": {label: {}}}, CLASSIFIER], [f"sources.{label}", "rename that side"])
        for label in ("real", "fake", "noise", "iteration", "z", "adversarial", "generator", "classifier", "a_b")
    },
    "a source with a capital": ([{"sources": {"Avoid": {}}}], ["sources.Avoid", "lower-case"]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_bad_recipe_is_refused_in_a_sentence(kind: str) -> None:
    tables, pieces = WRONG[kind]
    text = refusal(drawn(*tables))
    for piece in pieces:
        assert piece in text, text


def test_trained_with_must_be_texts(tmp_path: Path) -> None:
    for value in ("run.seed=1", [3], {"run": {"seed": 1}}):
        table = {"networks": {"classifier": {"trained_by": "x.toml", "trained_with": value}}}
        text = refusal(lambda table=table: plan_of(CLASSIFIER, table))
        assert "networks.classifier" in text
        assert "trained_with" in text


def test_a_recipe_by_name_takes_a_source_from_an_overlay(tmp_path: Path) -> None:
    (tmp_path / "game.toml").write_text(toml.dumps(GAME))
    (tmp_path / "avoid.toml").write_text("[sources.avoid]\n[samplers.weave]\nuse = 'toy/weave'\njoined = 'avoid'\n")
    recipe = read(str(tmp_path / "game.toml"), REGISTRY, overlays=[str(tmp_path / "avoid.toml")])
    batch = Run(make_plan(recipe, REGISTRY), CPU).fresh()
    assert len(batch.joined["fake"][0]) == 3
