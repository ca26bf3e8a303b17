"""Which rows each component sees: what looks at its batch gets the rows of one side, whole, in every turn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import gancore
from gancore import GancoreError
from gancore.engine.run import Run
from gancore.registry import Registry
from gancore.testing import host
from tests import hosts, probe, standin
from tests.hosts import CPU

# -- the plugin of this module -----------------------------------------------------------------------------------------

ROWS: dict[str, list[Tensor]] = {}
"""What each part of this module was given, call by call."""


class MinibatchDeviation(gancore.Head):
    """One logit of the features and of their mean standard deviation over the batch (Karras et al. 2018, section 3)."""

    batch_statistics = True

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features + 1, 1)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        ROWS.setdefault("head", []).append(features.detach())
        deviation = features.std(0, correction=0).mean().expand(len(features), 1)
        logits: Tensor = self.linear(torch.cat([features, deviation], 1)).squeeze(1)
        return logits


class Silent(gancore.Head):
    """Has batch norm and does not say so."""

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(features), nn.Linear(features, 1))

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = self.layers(features).squeeze(1)
        return logits


class Recorder(gancore.LossTerm):
    """Keeps what it is given in each turn."""

    def keep(self, player: str, **rows: Tensor) -> Tensor:
        term = type(self).__name__.lower()
        ROWS.update({f"{term}, {player}: {name}": [value.detach()] for name, value in rows.items()})
        return sum((value.float().mean() for value in rows.values()), torch.zeros(()))


class Recover(Recorder):
    """Recovers latents from what D says of generated images, in both players' losses (after Chen et al. 2016, Eq. 6)."""

    def discriminator(self, *, z: Tensor, fake_label: Tensor, fake_features: Tensor, fake_adversarial: Tensor) -> Tensor:
        self.keep("discriminator", z=z, label=fake_label, features=fake_features, logits=fake_adversarial)
        return (fake_features[:, : z.shape[1]] - z).square().mean() + fake_adversarial.mean()

    def generator(self, *, z: Tensor, fake_features: Tensor, fake_adversarial: Tensor) -> Tensor:
        self.keep("generator", z=z, features=fake_features, logits=fake_adversarial)
        return (fake_features[:, : z.shape[1]] - z).square().mean()

    def attacked_fake(self, *, z: Tensor, fake_adversarial: Tensor) -> Tensor:
        return fake_adversarial * z.mean(1)


class Consistent(Recorder):
    """D says the same of a generated image and of its mirror image (after Zhang et al. 2020, Eq. 2)."""

    extra_views: ClassVar[dict[str, str]] = {"mirrored": "mirror"}

    def mirror(self, *, fake: Tensor) -> Tensor:
        return fake.flip(3)

    def discriminator(self, *, fake_adversarial: Tensor, mirrored_adversarial: Tensor) -> Tensor:
        self.keep("discriminator", logits=fake_adversarial, mirrored=mirrored_adversarial)
        return (fake_adversarial - mirrored_adversarial).square().mean()


class Annotated(Recorder):
    """Asks for another network's opinion of generated images beside D's."""

    def discriminator(self, *, fake_classifier: Tensor, fake_label: Tensor, fake_adversarial: Tensor) -> Tensor:
        return self.keep("discriminator", classes=fake_classifier, label=fake_label, logits=fake_adversarial)


class Coded(Recorder):
    """Asks for a code of the latent, and for nothing else that is generated."""

    def discriminator(self, *, twice: Tensor, real_adversarial: Tensor) -> Tensor:
        return self.keep("discriminator", code=twice) + real_adversarial.mean()


class Plain(Recorder):
    """A mean over generated images, whatever they are."""

    def discriminator(self, *, fake_label: Tensor, fake_adversarial: Tensor, fake_view: Tensor) -> Tensor:
        return self.keep("discriminator", label=fake_label, logits=fake_adversarial, view=fake_view)


class Spread(Recorder):
    """Compares what D says of generated images with one another."""

    mean_over_images = False

    def discriminator(self, *, fake_adversarial: Tensor) -> Tensor:
        self.keep("discriminator", logits=fake_adversarial)
        return fake_adversarial.var()

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        return -fake_adversarial.var()


class Steep(gancore.LossTerm):
    """A gradient with respect to all of the view, beside latents."""

    differentiates = frozenset({"fake_view"})

    def discriminator(self, *, z: Tensor, fake_view: Tensor, fake_adversarial: Tensor) -> Tensor:
        return torch.autograd.grad(fake_adversarial.sum(), fake_view, create_graph=True)[0].square().mean()


def _declared(**targets: str) -> Iterator[gancore.Component]:
    for name, target in targets.items():
        yield gancore.Component(name, f"{__name__}:{target}", target)


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    yield from _declared(deviation="MinibatchDeviation", silent="Silent")


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    names = ("Recover", "Consistent", "Annotated", "Coded", "Plain", "Spread", "Steep")
    yield from _declared(**{name.lower(): name for name in names})


REGISTRY = Registry.of({"standard": standin, "probe": probe, "host": host, "rows": sys.modules[__name__]})

DEVIATION: dict[str, Any] = {"heads": {"adversarial": {"use": "rows/deviation"}}}
JOINED: dict[str, Any] = {"samplers": {"difference": {"use": "probe/difference"}}}
PENALTY: dict[str, Any] = {"losses": {"penalty": {"use": "standard/gradient-penalty"}}}
NORMED: dict[str, Any] = {"networks": {"discriminator": {"use": "standard/dcgan-discriminator", "width": 0.125}}}


CONDITIONAL: dict[str, Any] = {"networks": {"generator": {"use": "standard/dcgan-generator", "conditional": True}}}


def term(name: str, **settings: Any) -> dict[str, Any]:
    return {"losses": {name: {"use": f"rows/{name}", **settings}}}


def run_of(*tables: dict[str, Any]) -> Run:
    run = Run(hosts.plan_of(*tables, plugins=REGISTRY), CPU)
    ROWS.clear()
    return run


def backbone(run: Run) -> list[int]:
    """Return a list to which the numbers of images will be added that D's backbone sees at once."""
    numbers: list[int] = []
    run.networks["discriminator"].register_forward_pre_hook(lambda _m, inputs: numbers.append(len(inputs[0])))
    return numbers


# -- loss terms ----------------------------------------------------------------------------------------------------------


def seen(run: Run, batch: Any, *players: str) -> dict[str, Tensor]:
    """Take turns on a batch; return what terms were given."""
    ROWS.clear()
    for player in players or ("discriminator", "generator"):
        run.phase(player, batch)
    return {name: rows for name, (rows,) in ROWS.items()}


def test_a_term_about_latents_sees_generated_rows_alone_and_one_about_images_all() -> None:
    run = run_of(JOINED, term("recover"), term("plain"), CONDITIONAL)
    batch = run.fresh()
    latents, labels = batch.z, batch.fake_label
    assert latents is not None
    assert labels is not None
    with torch.no_grad():
        images = run.networks["generator"](latents, labels)[:12]
        features = run.networks["discriminator"](images)
    rows = seen(run, batch, "discriminator")
    avoided, avoided_label = batch.joined["fake"]
    assert torch.equal(rows["recover, discriminator: z"], latents[:12])
    assert torch.equal(rows["recover, discriminator: label"], labels[:12])
    torch.testing.assert_close(rows["recover, discriminator: features"], features, rtol=1e-5, atol=1e-6)
    assert torch.equal(rows["plain, discriminator: view"], torch.cat([images, avoided]))
    assert torch.equal(rows["plain, discriminator: label"], torch.cat([labels[:12], avoided_label]))
    assert torch.equal(rows["recover, discriminator: logits"], rows["plain, discriminator: logits"][:12])


@pytest.mark.parametrize("name", ["recover", "consistent", "annotated"])
@pytest.mark.parametrize("joined", [False, True])
def test_lengths_agree_wherever_a_term_sees_them_together(name: str, joined: bool) -> None:
    run = run_of(JOINED if joined else {}, term(name), {"networks": {"classifier": {"use": "host/classifier"}}}, CONDITIONAL)
    rows = seen(run, run.fresh())
    for player, number in (("discriminator", 12 if joined else 16), ("generator", 16)):
        lengths = {key: len(value) for key, value in rows.items() if player in key}
        assert set(lengths.values()) <= {number}, lengths
    assert any("discriminator" in key for key in rows)


def test_a_head_that_is_given_labels_has_those_of_a_shorter_extra_view() -> None:
    run = run_of(JOINED, term("consistent"), {"heads": {"adversarial": {"use": "standard/projection"}}}, CONDITIONAL)
    assert len(seen(run, run.fresh(), "discriminator")["consistent, discriminator: mirrored"]) == 12


def test_a_code_is_there_without_a_generated_image() -> None:
    losses = {"adversarial": {"players": ["generator"]}, "coded": {"use": "rows/coded"}}
    run = run_of({"losses": losses, "latent": {"use": "probe/mixture"}})
    batch = run.fresh()
    assert torch.equal(seen(run, batch, "discriminator")["coded, discriminator: code"], batch.codes["twice"])


def test_an_attack_raises_nothing_for_images_that_a_term_does_not_see() -> None:
    attack = {"attacks": {"sign": {"use": "probe/sign", "sides": ["fake"], "epsilon": 0.5}}}
    run = run_of(JOINED, term("recover"), attack, CONDITIONAL)
    views: list[Tensor] = []
    run.networks["discriminator"].register_forward_pre_hook(lambda _m, inputs: views.append(inputs[0].detach()))
    batch = run.fresh()
    run.phase("discriminator", batch)
    generated, avoided = views[-1][16:28], views[-1][28:]
    assert torch.equal(avoided, batch.joined["fake"][0])
    assert not torch.allclose(generated, batch.generated["fake"][:12])


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "statistics of avoided images": (
        {"sources": {"avoid": {}}, **term("spread", players=["discriminator"], reads={"fake": "avoid"})},
        "is no mean over the images of a side, so it can't read 'avoid', which no generator makes, as fake",
    ),
    "latents of avoided images": (
        {"sources": {"avoid": {}}, **term("recover", players=["discriminator"], reads={"fake": "avoid"})},
        "recover .* asks for z, so it can't read 'avoid'",
    ),
    "a gradient at all images beside latents": ({**JOINED, **term("steep")}, "differentiates its view and asks for"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_term_that_would_be_given_other_rows_than_it_means_is_refused(name: str) -> None:
    table, sentence = REFUSED[name]
    with pytest.raises(GancoreError, match=sentence) as caught:
        run_of(table)
    assert len(str(caught.value)) <= 400


def test_what_is_no_mean_over_images_is_of_the_mixture_where_images_are_joined() -> None:
    """A mixture that is written as two weighted losses would give it each side alone; joined images are one side with it."""
    run = run_of(JOINED, term("spread"), term("plain"))
    rows = seen(run, run.fresh(), "discriminator")
    assert len(rows["spread, discriminator: logits"]) == 16
    assert torch.equal(rows["spread, discriminator: logits"], rows["plain, discriminator: logits"])
    torch.testing.assert_close(run.losses["discriminator/spread"], rows["plain, discriminator: logits"].var())
    hosts.steps(run_of({"sources": {"other": {}}}, term("spread")), 1)


# -- generators ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generator", ["probe/tiny-generator", "standard/dcgan-generator"])
def test_a_generator_is_given_the_same_rows_in_each_turn_whatever_is_joined(generator: str) -> None:
    """Of what it makes of a whole batch, the discriminator sees as many images as the joined ones leave room for."""
    run = run_of(JOINED, {"networks": {"generator": {"use": generator}}})
    network, batch = run.networks["generator"], run.fresh()
    latents = batch.z
    assert latents is not None
    rows: list[Tensor] = []
    network.register_forward_pre_hook(lambda _m, inputs: rows.append(inputs[0]))
    with torch.no_grad():
        images = network(latents, batch.fake_label)
    views: list[Tensor] = []
    run.networks["discriminator"].register_forward_pre_hook(lambda _m, inputs: views.append(inputs[0].detach()))
    run.phase("discriminator", batch)
    run.phase("generator", batch)
    assert [torch.equal(z, latents) for z in rows] == [True, True, True]
    assert torch.equal(views[0][16:28], images[:12])
    assert torch.equal(views[0][28:], batch.joined["fake"][0])


@pytest.mark.parametrize("size", [1, 2])
def test_a_batch_that_batch_norm_can_not_have_is_refused_in_a_sentence(size: int) -> None:
    run = run_of({"run": {"batch_size": size}, "heads": {"adversarial": {"use": "probe/normed"}}})
    if size > 1:
        hosts.steps(run, 1)
        return
    with pytest.raises(GancoreError, match=r"test: batch norm needs more than one value .* run.batch_size = 1 .* raise it\.$"):
        run.step()


def test_an_error_of_a_component_that_is_no_matter_of_the_batch_is_left_as_it_is() -> None:
    run = run_of()
    run.networks["generator"].forward = lambda *_: [][1]
    with pytest.raises(IndexError):
        run.step()
    run.networks["generator"].forward = lambda *_: int("a")
    with pytest.raises(ValueError, match="invalid literal"):
        run.step()


# -- heads ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tables", "turn", "head"),
    [
        ([], [32], 2),
        # The images between real and generated ones are a batch of their own as well.
        ([PENALTY], [32, 16], 3),
        ([NORMED], [16, 16], 2),
    ],
    ids=["plain", "an extra view", "a backbone with batch norm"],
)
def test_a_head_that_looks_at_its_batch_sees_one_side_at_a_time(tables: list[Any], turn: list[int], head: int) -> None:
    """The backbone's batches stay joined where it allows that, and the head's outputs are those of each side alone."""
    run = run_of(DEVIATION, *tables)
    numbers, batch = backbone(run), run.fresh()
    run.phase("discriminator", batch)
    assert numbers == turn
    assert [len(rows) for rows in ROWS["head"]] == [16] * head
    ROWS.clear()
    run.phase("generator", batch)
    assert [len(rows) for rows in ROWS["head"]] == [16, 16]


def test_heads_that_look_at_no_batch_stay_joined_beside_one_that_does() -> None:
    run = run_of(DEVIATION, {"heads": {"tested": {"use": "standard/linear"}}, "losses": {"other": {"use": "host/head-loss"}}})
    seen: list[int] = []
    run.heads["tested"].register_forward_pre_hook(lambda _m, inputs: seen.append(len(inputs[0])))
    run.phase("discriminator", run.fresh())
    assert [len(rows) for rows in ROWS["head"]] == [16, 16]
    assert seen == [32]


def test_the_loss_is_that_of_sides_that_went_through_alone() -> None:
    run = run_of(DEVIATION)
    batch = run.fresh()
    discriminator, head = run.networks["discriminator"], run.heads["adversarial"]
    with torch.no_grad():
        fake = run.networks["generator"](batch.z, batch.fake_label)
        logits = [head(discriminator(images), batch.real_label) for images in (batch.real, fake)]
        term: Any = run.terms["adversarial"]
        expected = term.discriminator(real_adversarial=logits[0], fake_adversarial=logits[1])
    run.phase("discriminator", batch)
    assert run.losses["discriminator/adversarial"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_batch_norm_in_a_head_must_be_declared() -> None:
    with pytest.raises(GancoreError, match=r"heads.adversarial \(rows/silent\) has batch norm, .* batch_statistics = True"):
        run_of({"heads": {"adversarial": {"use": "rows/silent"}}})


@pytest.mark.parametrize(("table", "name"), [(DEVIATION, "heads.adversarial"), (NORMED, "networks.discriminator")])
def test_no_images_are_joined_where_d_looks_at_its_batch(table: dict[str, Any], name: str) -> None:
    """The generator's batches would hold none of them, so D would judge batches of another kind than it was trained on."""
    with pytest.raises(GancoreError, match=f"{name} .* looks at its whole batch, and .* joins images") as caught:
        run_of(table, JOINED)
    assert len(str(caught.value)) <= 400
