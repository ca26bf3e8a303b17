"""CausalGAN: images of a causal model of their labels (Kocaoglu et al., ICLR 2018; arXiv:1709.02023): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

CAUSALGAN = "arXiv:1709.02023"


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    """Declare the causal controller, the generator that obeys attributes, and who says which ones an image has."""
    networks = "gancore_causalgan.networks"
    controller = "gancore_causalgan.controller:Controller"
    yield gancore.Component("controller", controller, "Attributes, each a function of its causes and noise", cite=CAUSALGAN)
    yield gancore.Component("generator", f"{networks}:Generator", "Images of a latent and attributes", cite=CAUSALGAN)
    yield gancore.Component("labeler", f"{networks}:Labeler", "Logits of an image's attributes", cite=CAUSALGAN)


@gancore.hookimpl
def gancore_latents() -> Iterator[gancore.Component]:
    """Declare the latents whose attributes come from a causal controller."""
    yield gancore.Component("causal", "gancore_causalgan.latents:Causal", "Attributes of a causal controller", cite=CAUSALGAN)


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the losses of labeler and anti-labeler."""
    losses = "gancore_causalgan.losses"
    yield gancore.Component("labeler", f"{losses}:Labeler", "Generated images look like their attributes", cite=CAUSALGAN)
    yield gancore.Component("anti-labeler", f"{losses}:AntiLabeler", "And not like those of a stereotype", cite=CAUSALGAN)


@gancore.hookimpl
def gancore_loops() -> Iterator[gancore.Component]:
    """Declare the update rule of four players."""
    yield gancore.Component(
        "four-players", "gancore_causalgan.loops:FourPlayers", "Generator steps, then the others", cite=CAUSALGAN
    )


@gancore.hookimpl
def gancore_datasets() -> Iterator[gancore.Component]:
    """Declare drawn faces of a known causal model, and the attributes of any set as points."""
    sets = "gancore_causalgan.datasets"
    yield gancore.Component("faces", f"{sets}:Faces", "Drawn faces whose attributes follow a causal model")
    yield gancore.Component("attributes", f"{sets}:Attributes", "The attributes of another set's images, as points")


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    """Declare the scores of controller and generator."""
    metrics = "gancore_causalgan.metrics"
    yield gancore.Component("total-variation", f"{metrics}:TotalVariation", "How far a controller's labels are from the data's")
    yield gancore.Component("variety", f"{metrics}:Variety", "How much images of the same attributes differ")
    yield gancore.Component("as-asked", f"{metrics}:AsAsked", "Attributes that generated images have as asked for")


@gancore.hookimpl
def gancore_commands() -> Iterator[gancore.Component]:
    """Declare the command that draws under interventions and conditions."""
    summary = "Sample a causal model: --do and --given"
    yield gancore.Component("causal", "gancore_causalgan.command:causal", summary, group="Methods")


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
