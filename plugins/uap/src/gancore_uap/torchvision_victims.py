"""torchvision's classifiers as victims, on images in [-1, 1], with weights of a file or torchvision's own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from gancore_standard.tools import published_file, torchvision
from torch import Tensor, nn

import gancore
from gancore.tools import did_you_mean, first_line, listed

CHILD = "network."
"""Prefix of torchvision's names inside the classifier, which its state doesn't show."""


class TorchvisionClassifier(gancore.Classifier):
    """A classifier of torchvision, with initial weights; a recipe's ``weights`` says what it was trained to.

    Its state has torchvision's own names, so that ``safetensors.torch.save_file(model.state_dict(), ...)`` of any copy of
    the model makes a file that fits. For that reason GoogLeNet and Inception v3 have their auxiliary heads, which never run.
    Both bring normalized images to mean and deviation 0.5 first (``transform_input``), as torchvision's weights for them need
    it. Vision transformers and MaxViT are built for the size of the data's images.

    The features are the input of the last linear layer. Where there is none that gives the logits (SqueezeNet), they are the
    logits themselves, and `classify` leaves them as they are.

    Args:
        model: Name of the model, one of ``torchvision.models.list_models(module=torchvision.models)``.
        classes: Number of classes K, from core unless set; at least 1. Weights trained on ImageNet have 1000.
        image_size: Height and width, from core.
        channels: Channels of an image, from core; must be 3.
        input_size: Least size of the images that its weights were trained for; smaller ones are refused, for nothing is
            resized here. 0 takes any.
        mean: Mean of each of the 3 channels, on the [0, 1] scale, that the weights were trained with; by default that of
            torchvision's weights for the model: (0.485, 0.456, 0.406), ImageNet's, for nearly all.
        std: Deviation of each channel, above 0; by default likewise, (0.229, 0.224, 0.225) for nearly all.

    Raises:
        GancoreError: There is no such model, it does not take such images, or `mean` or `std` does not have three values.
    """

    def __init__(
        self,
        *,
        model: str,
        classes: Annotated[int, gancore.Range(1)],
        image_size: int,
        channels: int,
        input_size: Annotated[int, gancore.Range(0)] = 0,
        mean: list[float] | None = None,
        std: list[float] | None = None,
    ) -> None:
        super().__init__()
        published = _published(model)
        if channels != 3:
            raise gancore.GancoreError(
                f"torchvision's {model} sees images of 3 channels, not {channels}; choose color images (data.channels = 3, "
                "where the image set has that workbench) or another classifier."
            )
        if image_size < input_size:
            raise gancore.GancoreError(
                f"{model} was trained for images of at least {input_size} px, and the data's have {image_size} px; "
                f"set data.image_size = {input_size}, or input_size = 0 to classify them as they are."
            )
        transforms = published.transforms()
        means = _channels("mean", transforms.mean if mean is None else mean)
        deviations = _channels("std", transforms.std if std is None else std)
        if not (deviations > 0).all():
            raise gancore.GancoreError(
                f"std must be above 0 for each channel, not {std}; set the deviations that the weights of {model} were "
                "trained with."
            )
        self.register_buffer("scale", 0.5 / deviations, persistent=False)
        self.register_buffer("shift", (0.5 - means) / deviations, persistent=False)
        self.scale: Tensor
        self.shift: Tensor
        self.network = self._build(model, classes, image_size)
        self.classes = classes
        self._last, self.features = self._try_out(model, image_size)
        self.register_state_dict_post_hook(_show_torchvision_names)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_take_torchvision_names)  # type: ignore[no-untyped-call]
        self.train()

    def _build(self, model: str, classes: int, image_size: int) -> nn.Module:
        """Return the model with its weights."""
        settings: dict[str, Any] = {"num_classes": classes}
        if model in ("googlenet", "inception_v3"):
            # Their own initialization draws each weight from a truncated normal, which takes long and serves no victim.
            settings |= {"aux_logits": True, "transform_input": True, "init_weights": False}
        elif model.startswith("vit_"):
            settings["image_size"] = image_size
        elif model.startswith("maxvit_"):
            settings["input_size"] = (image_size, image_size)
        try:
            network: nn.Module = torchvision().models.get_model(model, weights=None, **settings)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise _unfit(model, image_size, error) from error
        return network

    def _try_out(self, model: str, image_size: int) -> tuple[str | None, int]:
        """Send one image through the model: the name of the linear layer that gives the logits, if any, and its width."""
        linear = [(name, module) for name, module in self.network.named_modules() if isinstance(module, nn.Linear)][-1:]
        outputs: list[Tensor] = []
        hooks = [module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output)) for _, module in linear]
        self.network.eval()
        try:
            with torch.no_grad():
                logits = self.network(torch.zeros(1, 3, image_size, image_size))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise _unfit(model, image_size, error) from error
        finally:
            for hook in hooks:
                hook.remove()
        if outputs and outputs[-1] is logits:
            return linear[0][0], linear[0][1].in_features
        return None, self.classes

    def train(self, mode: bool = True) -> TorchvisionClassifier:
        """Set the mode. Auxiliary heads, which the model runs by its own mode and not by its layers', stay off."""
        super().train(mode)
        if getattr(self.network, "aux_logits", False):
            self.network.training = False
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) in [-1, 1] to logits (N, K)."""
        logits: Tensor = self.network(x * self.scale + self.shift)
        return logits

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) in [-1, 1] to features (N, F)."""
        if self._last is None:
            return self.forward(x)
        seen: list[Tensor] = []
        last = self.network.get_submodule(self._last)
        hook = last.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
        try:
            self.forward(x)
        finally:
            hook.remove()
        return seen[-1]

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        if self._last is None:
            return features
        logits: Tensor = self.network.get_submodule(self._last)(features)
        return logits

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load a state, as `torch.nn.Module.load_state_dict` does."""
        # MNASNet refuses tensors that come without the version of its layers, and files of safetensors have none.
        versioned: Any = OrderedDict(state_dict)
        versioned._metadata = getattr(self.state_dict(), "_metadata", None)
        return super().load_state_dict(versioned, strict, assign)


class PretrainedClassifier(TorchvisionClassifier):
    """A classifier of torchvision with torchvision's own weights for it.

    They are downloaded once into torch's cache; their licenses and training sets are those that torchvision names. Classes,
    mean and deviation are the weights'. For other weights, or without a network connection, see `TorchvisionClassifier`.

    Args:
        model: Name of the model, one of ``torchvision.models.list_models(module=torchvision.models)``.
        image_size: Height and width, from core. Most models take sizes other than those they were trained for.
        channels: Channels of an image, from core; must be 3.
        input_size: Least size of images; smaller ones are refused, by default those below what the weights were published
            for (224 px for most). 0 takes any.
        version: Torchvision's name for the weights: ``DEFAULT``, the best that it has, or e.g. ``IMAGENET1K_V1``, the ones
            that papers before 2021 took.

    Raises:
        GancoreError: There is no such model or version, it does not take such images, or its weights can't be downloaded.
    """

    frozen_needs_weights: ClassVar[bool] = False

    def __init__(
        self,
        *,
        model: str,
        image_size: int,
        channels: int,
        input_size: Annotated[int, gancore.Range(0)] | None = None,
        version: str = "DEFAULT",
    ) -> None:
        self.version = version  # asked for while the base class builds the model
        published = _published(model, version)
        classes = len(published.meta["categories"])
        least = published.transforms().crop_size[0] if input_size is None else input_size
        super().__init__(model=model, classes=classes, image_size=image_size, channels=channels, input_size=least)

    def _build(self, model: str, classes: int, image_size: int) -> nn.Module:
        published = _published(model, self.version)
        remedy = (
            "where they can, convert them by `gancore convert`, and use uap/torchvision with weights = that file and "
            f"classes = {classes}"
        )
        # torchvision unpickles whatever lies in its cache under this name, so it is checked first.
        published_file(published.url, of=f"torchvision's {model}", remedy=remedy)
        try:
            network: nn.Module = torchvision().models.get_model(model, weights=published, progress=False)
        except (OSError, RuntimeError) as error:
            raise gancore.GancoreError(
                f"torchvision's weights of {model} do not fit its network ({first_line(error)}); {remedy}."
            ) from error
        return network


def _published(model: str, version: str = "DEFAULT") -> Any:
    """Return what torchvision knows of its weights for a model, without downloading them."""
    models = torchvision().models
    known = models.list_models(module=models)
    if model not in known:
        raise gancore.GancoreError(
            f"torchvision has no classifier {model!r}{did_you_mean(model, known)} (set model to one of "
            "torchvision.models.list_models(module=torchvision.models))."
        )
    weights = models.get_model_weights(model)
    if version not in weights.__members__:
        raise gancore.GancoreError(
            f"torchvision has no weights {version!r} of {model}{did_you_mean(version, weights.__members__)} (it has: "
            f"{listed(weights.__members__)}); set version to one of these."
        )
    return weights[version]


def _channels(name: str, values: list[float]) -> Tensor:
    """Return one value per channel as (1, 3, 1, 1)."""
    if len(values) != 3:
        raise gancore.GancoreError(f"{name} must have 3 values, one per channel, not {len(values)}; correct {name}.")
    return torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)


def _unfit(model: str, image_size: int, error: BaseException) -> gancore.GancoreError:
    size = _published(model).transforms().crop_size[0]
    return gancore.GancoreError(
        f"torchvision's {model} does not take images of {image_size} px ({first_line(error)}); set data.image_size = {size}, "
        "the size of its published weights, or choose another model."
    )


def _show_torchvision_names(_module: nn.Module, state: dict[str, Any], prefix: str, _metadata: dict[str, Any]) -> None:
    inner = prefix + CHILD
    for name in [name for name in state if name.startswith(inner)]:
        state[prefix + name.removeprefix(inner)] = state.pop(name)


def _take_torchvision_names(_module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        state[prefix + CHILD + name.removeprefix(prefix)] = state.pop(name)
