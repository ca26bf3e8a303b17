"""Public names for other plugins: what their networks, image sets and scores may use of the standard ones.

    from gancore_standard.tools import SmallCNN, check_split, doubled

Everything else of this package may move from one version to the next. Components are no part of this: recipes name them.
"""

from __future__ import annotations

from gancore_standard.budgets import WIDTH, budget, budgets
from gancore_standard.classifier_training import logits_of, own_random_state, shuffled_epochs, train_classifier
from gancore_standard.datasets.ahead import workers_here
from gancore_standard.datasets.decoding import FORMAT as DECODING
from gancore_standard.datasets.decoding import Background, Pixels, decode
from gancore_standard.datasets.folders import expand_user
from gancore_standard.datasets.pictures import SMALL, Pictures
from gancore_standard.datasets.plane import DEVIATIONS, Floats, Plane, Points, Seed, normals
from gancore_standard.datasets.resizing import ImageSize
from gancore_standard.datasets.splits import SPLITS, check_split
from gancore_standard.image_files import save_picture
from gancore_standard.networks.dcgan import DCGANDiscriminator
from gancore_standard.networks.initialization import orthogonal_init
from gancore_standard.networks.layers import GaussianNoise, doubled, halved, spectral
from gancore_standard.networks.small_cnn import SmallCNN
from gancore_standard.networks.sndcgan import SNDCGANGenerator
from gancore_standard.pictures import grid
from gancore_standard.subsets import evenly
from gancore_standard.torch_files import published_file
from gancore_standard.torchvision_import import torchvision

__all__ = [
    "DECODING",
    "DEVIATIONS",
    "SMALL",
    "SPLITS",
    "WIDTH",
    "Background",
    "DCGANDiscriminator",
    "Floats",
    "GaussianNoise",
    "ImageSize",
    "Pictures",
    "Pixels",
    "Plane",
    "Points",
    "SNDCGANGenerator",
    "Seed",
    "SmallCNN",
    "budget",
    "budgets",
    "check_split",
    "decode",
    "doubled",
    "evenly",
    "expand_user",
    "grid",
    "halved",
    "logits_of",
    "normals",
    "orthogonal_init",
    "own_random_state",
    "published_file",
    "save_picture",
    "shuffled_epochs",
    "spectral",
    "torchvision",
    "train_classifier",
    "workers_here",
]
