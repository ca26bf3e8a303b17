"""A plugin for tests: one small component for each ability that the step owes to papers still to come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

PARTS = "tests.probe.parts"
LABELED = "tests.probe.labeled"
GROUPED = "tests.probe.grouped"


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    yield gancore.Component("r1", f"{PARTS}:R1", "Gradient with respect to what D sees")
    yield gancore.Component("smooth", f"{PARTS}:SmoothActivations", "Hidden activations")
    yield gancore.Component("invert", f"{PARTS}:Invert", "Loss of a third player")
    yield gancore.Component("twin", f"{PARTS}:TwinAdversarial", "Loss with a second generator")
    yield gancore.Component("clip", f"{PARTS}:Clip", "A projection after a step")
    yield gancore.Component("nothing", f"{PARTS}:Nothing", "A term of value 0 without gradient")
    yield gancore.Component("greedy", f"{PARTS}:Greedy", "Wants an attack to raise activations")
    yield gancore.Component("balance", f"{PARTS}:Balance", "A term with state, of a classifier's decisions", "arXiv:1809.11096")
    yield gancore.Component("predict", f"{PARTS}:Predict", "Loss of a code of the latent")
    yield gancore.Component("uncertain", f"{PARTS}:Uncertain", "A loss with a learned weight")
    yield gancore.Component("untouchable", f"{PARTS}:Untouchable", "A game that no attack can raise")
    yield gancore.Component("spread", f"{GROUPED}:Spread", "Looks at groups")
    yield gancore.Component("attribute-loss", f"{LABELED}:AttributeLoss", "Attributes of an image")
    yield gancore.Component("class-loss", f"{LABELED}:ClassLoss", "Reads labels")
    yield gancore.Component("cause-loss", f"{LABELED}:CauseLoss", "Loss of a causal latent's code")


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    yield gancore.Component(
        "comparing", "tests.probe.comparing:ComparingHead", "A logit that each image's distance from the others moves"
    )
    yield gancore.Component("normed", f"{PARTS}:NormedHead", "A logit of normalized features")
    yield gancore.Component("attribute-head", f"{LABELED}:AttributeHead", "A logit given attributes")
    yield gancore.Component("attribute-logits", f"{LABELED}:AttributeLogits", "Logits of attributes")


@gancore.hookimpl
def gancore_samplers() -> Iterator[gancore.Component]:
    yield gancore.Component("difference", f"{PARTS}:Difference", "Negatives of some classes, mixed into the fakes")
    yield gancore.Component("pairs", f"{PARTS}:Pairs", "Two images as one sample")
    yield gancore.Component("noisy", f"{PARTS}:Noisy", "Noise on the real images")
    yield gancore.Component("groups", f"{GROUPED}:Groups", "Images of one label as one sample")
    yield gancore.Component("never", f"{PARTS}:Never", "Never draws a class")
    yield gancore.Component("dim", f"{PARTS}:Dim", "A lossy measurement before D")


@gancore.hookimpl
def gancore_latents() -> Iterator[gancore.Component]:
    yield gancore.Component("mixture", f"{PARTS}:Mixture", "A component for each class")
    yield gancore.Component("every-class", f"{PARTS}:EveryClass", "Labels of its own, of every class")
    yield gancore.Component("halves", f"{PARTS}:Halves", "Labels that are no whole numbers")
    yield gancore.Component("short", f"{PARTS}:Short", "Fewer latents than asked for")
    yield gancore.Component("scored", f"{PARTS}:Scored", "A code called like what metrics see")
    yield gancore.Component("clashing", f"{PARTS}:Clashing", "A code called like a network")
    yield gancore.Component("causal", f"{LABELED}:CausalLatent", "Attributes of a frozen causal model")


@gancore.hookimpl
def gancore_attacks() -> Iterator[gancore.Component]:
    yield gancore.Component("free", f"{PARTS}:Free", "Free adversarial perturbation")
    yield gancore.Component("sign", f"{PARTS}:SignSteps", "Signed gradient steps")


@gancore.hookimpl
def gancore_loops() -> Iterator[gancore.Component]:
    yield gancore.Component("replay", f"{PARTS}:Replay", "The same batch several times")
    yield gancore.Component("lookahead", f"{PARTS}:Lookahead", "Remembers weights")
    yield gancore.Component("three", f"{PARTS}:ThreePlayers", "Generator, discriminator, encoder")
    yield gancore.Component("two-generators", f"{PARTS}:TwoGenerators", "Two generators and a discriminator")


@gancore.hookimpl
def gancore_optimizers() -> Iterator[gancore.Component]:
    yield gancore.Component("descent", f"{PARTS}:Descent", "Gradient descent as a class")
    yield gancore.Component("forgetful", f"{PARTS}:Forgetful", "Counts its steps in a Python number")


@gancore.hookimpl
def gancore_schedules() -> Iterator[gancore.Component]:
    yield gancore.Component("thirds", f"{PARTS}:thirds", "A third, two thirds, one")


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    yield gancore.Component("small-classifier", "tests.compose.small_classifier:SmallClassifier", "An untrained small CNN")
    yield gancore.Component("encoder", f"{PARTS}:Encoder", "Image to latent")
    yield gancore.Component("bounded-generator", f"{PARTS}:BoundedGenerator", "Generator whose weights stay in a ball")
    yield gancore.Component("tiny-generator", f"{PARTS}:TinyGenerator", "One linear layer")
    yield gancore.Component("group-generator", f"{GROUPED}:GroupGenerator", "Makes groups")
    yield gancore.Component("group-discriminator", f"{GROUPED}:GroupDiscriminator", "Judges groups")
    yield gancore.Component("standardizing", f"{PARTS}:Standardizing", "Starts from the first batch")
    yield gancore.Component("tiny-discriminator", f"{PARTS}:TinyDiscriminator", "Two linear layers with dropout")
    yield gancore.Component("undeclared", f"{PARTS}:Undeclared", "Made by a test")
    yield gancore.Component("attribute-generator", f"{LABELED}:AttributeGenerator", "Obeys attributes")
    yield gancore.Component("causal-model", f"{LABELED}:Causal", "Which attributes go together")


@gancore.hookimpl
def gancore_datasets() -> Iterator[gancore.Component]:
    yield gancore.Component("faces", f"{LABELED}:Faces", "Images with attributes")


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    yield gancore.Component("doubled", f"{PARTS}:Doubled", "Reads a code of the latent")
    yield gancore.Component("learned", f"{PARTS}:Learned", "A classifier that learns from generated images")
    yield gancore.Component("whole", f"{PARTS}:Whole", "A score of the whole run")
    yield gancore.Component("asked", f"{LABELED}:Asked", "What a generator is asked for")


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    yield Path(__file__).with_name("recipes")
