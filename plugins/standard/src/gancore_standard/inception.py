"""The Inception network of the FID and the Inception score, by way of the optional package torch-fidelity."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from gancore import Classifier, GancoreError
from gancore.tools import first_line, to_uint8
from gancore_standard.datasets.folders import expand_user
from gancore_standard.torch_files import is_state, published_file, read_state
from gancore_standard.torchvision_import import torchvision


class Inception(Classifier):
    """InceptionV3 with the weights of the original TensorFlow scores (``inception-2015-12-05``), frozen.

    Features are the 2048 pooled ones of the FID (Heusel et al. 2017), logits the 1008 without bias of the Inception score
    (Salimans et al. 2016). The images are rounded to 8 bit and resized to 299 pixels as TensorFlow 1 did, so no gradient
    reaches them: the network is for scores, not for losses.

    Needs ``pip install "gancore-plugin-standard[inception]"``. The weights come from `path`, or are downloaded once into
    torch's cache.

    Args:
        channels: Channels of an image, from core: 3, or 1, which is repeated.
        path: The weights of torch-fidelity's extractor (``weights-inception-2015-12-05-6726825d.pth``).

    Raises:
        GancoreError: torch-fidelity is missing, the weights are missing, damaged or can't be downloaded, or the images have
            another number of channels.
    """

    frozen_needs_weights: ClassVar[bool] = False

    def __init__(self, *, channels: int = 3, path: str | None = None) -> None:
        super().__init__()
        _check_channels(channels)
        self.features = 2048
        self.classes = 1008
        module = _extractor_module()
        file = _published(module.URL_INCEPTION_V3) if path is None else expand_user(path)
        _check_weights(file)
        try:
            extractor: nn.Module = module.FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file)
            )
        except (RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise GancoreError(
                f"{file} does not hold the weights of torch-fidelity's Inception network ({first_line(error)}); "
                "give the file weights-inception-2015-12-05-6726825d.pth as path."
            ) from error
        self.extractor = extractor.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Inception:
        """Stay in eval mode: its batch norm uses the published statistics."""
        return super().train(False)

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, 1 or 3, H, W) in [-1, 1] to pooled features (N, 2048)."""
        _check_channels(x.shape[1])
        images = to_uint8(x)
        features: Tensor = self.extractor(images.expand(-1, 3, -1, -1).contiguous())[0]
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, 2048) to logits (N, 1008), without the bias."""
        last: Any = self.extractor.fc
        logits: Tensor = features.to(last.weight.dtype) @ last.weight.T
        return logits


def _check_channels(channels: int) -> None:
    if channels not in (1, 3):
        raise GancoreError(f"The Inception network sees images of 1 or 3 channels, not {channels}; choose another network.")


def _extractor_module() -> Any:
    # torch-fidelity imports torchvision at once; ours works beside a CPU-only torch.
    torchvision()
    try:
        return importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    except ModuleNotFoundError as error:
        missing = (error.name or "torch_fidelity").partition(".")[0].replace("_", "-")
        raise GancoreError(
            f"The Inception network needs the package {missing}, which is not installed; "
            'pip install "gancore-plugin-standard[inception]".'
        ) from error
    except ImportError as error:
        raise GancoreError(
            f"torch-fidelity can't be imported ({error}); install it anew: "
            'pip install --upgrade "gancore-plugin-standard[inception]".'
        ) from error


def _published(url: str) -> Path:
    return published_file(url, of="the Inception network", remedy="download them elsewhere and set the network's path")


def _check_weights(file: Path) -> None:
    """Refuse a file that holds anything but tensors, before torch-fidelity reads it with the full unpickler."""
    if not is_state(read_state(file)):
        raise GancoreError(
            f"{file} does not hold the weights of a network; give the file weights-inception-2015-12-05-6726825d.pth as path."
        )
