"""`gancore explain` says of a plan what its phases compute; the plans are those that core's tests look into."""

from __future__ import annotations

from typing import Any

import pytest
from gancore_standard.explain import explain

from tests.engine import test_sources as sources
from tests.engine import test_translate as translate
from tests.engine.test_optimizers import trained_by
from tests.engine.test_schedules import SCHEDULED
from tests.engine.test_step import ABILITIES
from tests.hosts import BALANCE, FREE, plan_of


def test_it_counts_what_an_iteration_costs() -> None:
    text = explain(plan_of(BALANCE))
    assert "D(real + fake): one joined forward -> real_adversarial, fake_adversarial" in text
    assert "D(real): one forward, without graph -> real_adversarial" in text
    assert "classifier(fake) -> fake_classifier" in text
    assert "+ 10 * balance(fake_classifier)" in text
    assert "forwards     classifier 1, discriminator 3, generator 2" in text
    assert "backwards    discriminator 4, generator 4" in explain(plan_of({"loop": {"accumulate": 4}}))
    assert "second-order gradient" in explain(plan_of(ABILITIES["R1"]))
    assert "real is perturbed by attacks.free" in explain(plan_of(FREE))
    zero = {"losses": {"balance": {**BALANCE["losses"]["balance"], "weight": 0}}, "networks": BALANCE["networks"]}
    assert "losses.balance has weight 0: it is left out" in explain(plan_of(zero))


def test_it_names_the_latent_the_optimizers_and_the_schedules() -> None:
    assert "standard/normal" in explain(plan_of())
    text = explain(plan_of(trained_by("torch/AdamW", lr=0.5, betas=[0.1, 0.2])))
    assert "optimizer    generator: torch/AdamW, lr 0.5, betas (0.1, 0.2)" in text
    assert "one step of torch/AdamW" in text
    text = explain(plan_of(SCHEDULED))
    assert "schedule     optimizers.generator.beta1: standard/exponential, base 0.5, period 2.0" in text
    assert "schedule     losses.adversarial.weight: probe/thirds" in text
    assert "schedule     ema.decay: standard/exponential" in text


def test_it_names_sources_and_what_selects_from_them() -> None:
    spy = {"sources": {"labeled": {}}, "losses": {"spy": {"use": "toy/spy"}}}
    text = explain(sources.plan_of(sources.CLASSIFIER, spy))
    assert "D(real + fake): one joined forward" not in text.split("Phase of the generator")[0]
    assert "labeled_adversarial" in text
    assert "the data, as its samplers leave them" in text
    avoided = {"sources": {"avoid": {"use": "toy/coded", "first": 9}}}
    text = explain(sources.plan_of(avoided, sources.take("few", [1], "avoid")))
    assert "a further data set" in text
    assert "selects from the source avoid" in text
    # A term's names are those of its author; what they stand for in this recipe is said behind them.
    both = {"losses": {"avoided": {"use": "standard/non-saturating", "players": ["discriminator"], "reads": {"fake": "avoid"}}}}
    text = explain(sources.plan_of(avoided, both))
    assert "+ 1 * avoided(real_adversarial, fake_adversarial), where fake is avoid\n" in text
    assert "+ 1 * adversarial(real_adversarial, fake_adversarial)\n" in text


@pytest.mark.parametrize(
    "tables",
    [
        [],
        [sources.PENALTY],
        [{"losses": {"adversarial": {"use": "standard/relativistic"}}}],
        [sources.AVOID, sources.JOINED],
        [sources.AVOID, sources.EXPECTATION],
        [sources.AVOID, sources.BLEND],
    ],
    ids=["plain", "penalty", "relativistic", "joined", "expectation", "blend"],
)
def test_it_says_on_what_the_discriminator_stands_and_counts_the_forwards(tables: list[dict[str, Any]]) -> None:
    text = explain(sources.plan_of(sources.ON, *tables))
    assert "D sees the features of classifier(real, fake" in text.split("Phase of the generator")[0]
    (line,) = [line for line in text.splitlines() if line.startswith("  forwards")]
    assert f"classifier {sources.embeddings(sources.run_of(sources.ON, *tables))}," in line


def test_it_says_what_is_translated() -> None:
    assert "fake = generator(z, label, images of real)" in explain(translate.plan_of())


def test_it_names_the_networks_that_are_read_and_no_others() -> None:
    text = explain(translate.plan_of({"losses": {"watch": {"reads": {"classifier": "second"}}}}))
    assert "second(fake)" in text
    assert "  classifier(fake)" not in text
