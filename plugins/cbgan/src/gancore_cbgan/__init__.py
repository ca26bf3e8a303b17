"""Class Balancing GAN with a classifier in the loop (OpenReview:yEnaS6yOkxy), a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the regularizer."""
    yield gancore.Component(
        "class-balance",
        "gancore_cbgan.class_balance:ClassBalance",
        "Class-balancing regularizer: a weighted entropy of a classifier's mean prediction",
        cite="OpenReview:yEnaS6yOkxy",
    )


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    """Declare the few-labels classifier."""
    yield gancore.Component(
        "bit-resnet50",
        "gancore_cbgan.big_transfer:BitResNet",
        "BiT's ResNet-50, pretrained on ImageNet-21k: a classifier from few labels",
        cite="arXiv:1912.11370",
        group="files",
    )


@gancore.hookimpl
def gancore_samplers() -> Iterator[gancore.Component]:
    """Declare the augmentation that its fine-tuning needs."""
    yield gancore.Component(
        "resize-crop", "gancore_cbgan.big_transfer:ResizeCrop", "Resize, then crop a square at random", cite="arXiv:1912.11370"
    )


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
