"""A plugin with broken components of every kind, each in one way alone, for `test_every_kind`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import click
import torch
from gancore_testing import components
from torch import Tensor, nn

import gancore
from gancore.tools import distributed

HERE = __name__


def _declared(**targets: str) -> Iterator[gancore.Component]:
    for name, target in targets.items():
        yield gancore.Component(name.replace("_", "-"), f"{HERE}:{target}", "Broken")


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    yield from _declared(rotation="Rotation", encoding="Encoding")


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    yield from _declared(turned="components.ClassHead", peeking="PeekingHead", narrow="NarrowHead", counting="CountingHead")
    yield from _declared(averaging="AveragingHead")


@gancore.hookimpl
def gancore_samplers() -> Iterator[gancore.Component]:
    yield from _declared(
        beyond="Beyond", fickle="Fickle", negative="Negative", fading="Fading", apart="Apart", waiting="Waiting"
    )


@gancore.hookimpl
def gancore_latents() -> Iterator[gancore.Component]:
    yield from _declared(global_latent="GlobalLatent", wide_latent="WideLatent")


@gancore.hookimpl
def gancore_attacks() -> Iterator[gancore.Component]:
    yield from _declared(in_place="InPlace", restless="Restless", narrow_attack="NarrowAttack")


@gancore.hookimpl
def gancore_defenses() -> Iterator[gancore.Component]:
    yield from _declared(cropping="Cropping", glaring="Glaring", blocking="Blocking")


@gancore.hookimpl
def gancore_logged(values: Mapping[str, float]) -> None:
    raise KeyError("discriminator/adversarial")


@gancore.hookimpl
def gancore_loops() -> Iterator[gancore.Component]:
    yield from _declared(dicing="Dicing", encoder_loop="EncoderLoop")


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    yield from _declared(bright="Bright", comparing="Comparing", peeking_discriminator="PeekingDiscriminator")
    yield from _declared(mislabeled="Mislabeled", float_only="FloatOnly", picky="Picky", encoder="Encoder")
    yield from _declared(dropping="Dropping", declared="Declared")


@gancore.hookimpl
def gancore_datasets() -> Iterator[gancore.Component]:
    yield from _declared(surprising="Surprising", gray="Gray", unnamed="Unnamed", missing="Missing")


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    yield from _declared(piling="Piling", batchwise="Batchwise", meddling="Meddling", endless="Endless", misread="Misread")


@gancore.hookimpl
def gancore_optimizers() -> Iterator[gancore.Component]:
    yield from _declared(counting_descent="CountingDescent", noisy_descent="NoisyDescent")


@gancore.hookimpl
def gancore_schedules() -> Iterator[gancore.Component]:
    yield from _declared(remembering="remembering", dividing="dividing")


@gancore.hookimpl
def gancore_accelerators() -> Iterator[gancore.Component]:
    yield from _declared(skipping="skipping", silent="silent")


@gancore.hookimpl
def gancore_image_formats() -> Iterator[gancore.Component]:
    yield from _declared(stray="stray")


@gancore.hookimpl
def gancore_executors() -> Iterator[gancore.Component]:
    yield from _declared(eager="eager")


@gancore.hookimpl
def gancore_commands() -> Iterator[gancore.Component]:
    yield from _declared(helpless="helpless")


# -- losses and heads --------------------------------------------------------------------------------------------------


class Rotation(gancore.LossTerm):
    """Sound, and asks for a head that the host does not have."""

    def discriminator(self, *, real_rotation: Tensor) -> Tensor:
        return real_rotation.square().mean()


class Encoding(gancore.LossTerm):
    """Sound, and trains a network that the host does not have."""

    def encoder(self, *, real_encoder: Tensor) -> Tensor:
        return (real_encoder - 1).square().mean()


class PeekingHead(components.LinearHead):
    """Looks at its batch, and does not say so."""

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        return super().forward(features - features.mean(0), label)


class AveragingHead(components.LinearHead):
    """Takes the deviation of a batch of one, which there is none of."""

    batch_statistics: ClassVar[bool] = True

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        return super().forward(features, label) + features.std(0).mean()


class NarrowHead(components.ClassHead):
    """Gives fewer logits than there are classes."""

    def __init__(self, *, features: int) -> None:
        super().__init__(features=features, classes=3)


class CountingHead(components.LinearHead):
    """Counts its calls in a text, which a checkpoint does not hold."""

    def __init__(self, *, features: int) -> None:
        super().__init__(features=features)
        self.calls = ""

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        self.calls += "."
        return super().forward(features, label) / len(self.calls)


# -- samplers, latents, attacks ----------------------------------------------------------------------------------------


class Beyond(gancore.Sampler):
    """Selects an image too many."""

    def select(self, labels: Tensor, seed: int) -> Tensor:
        return torch.arange(len(labels) + 1)


class Fickle(gancore.Sampler):
    """Selects other images each time."""

    def select(self, labels: Tensor, seed: int) -> Tensor:
        return torch.randperm(len(labels))[:20]


class Negative(gancore.Sampler):
    """Weighs images by less than nothing."""

    def weights(self, labels: Tensor) -> Tensor:
        return 1 - labels.double()


DRAWS = itertools.count()


class Fading(gancore.Sampler):
    """Makes images fainter by a number that no checkpoint holds."""

    def draw(self, batch: gancore.Drawn, noise: torch.Generator) -> gancore.Drawn:
        return attrs.evolve(batch, real=batch.real / (1 + next(DRAWS)))


class Apart(gancore.Sampler):
    """Makes other images in each process."""

    def draw(self, batch: gancore.Drawn, noise: torch.Generator) -> gancore.Drawn:
        return attrs.evolve(batch, real=batch.real / (1 + distributed.rank()))


class Waiting(gancore.Sampler):
    """Makes no picture of a batch of one."""

    def draw(self, batch: gancore.Drawn, noise: torch.Generator) -> gancore.Drawn:
        return attrs.evolve(batch, real=batch.real / batch.real.std(0))


class GlobalLatent(components.Normal):
    """Draws from torch's own random stream."""

    def draw(self, number: int, noise: torch.Generator) -> gancore.Latents:
        return gancore.Latents(torch.randn(number, self.latent_dim))


class WideLatent(components.Normal):
    """Draws latents of another width than the generator's."""

    def draw(self, number: int, noise: torch.Generator) -> gancore.Latents:
        return gancore.Latents(torch.randn((number, self.latent_dim + 1), generator=noise))


class InPlace(components.TinyAttack):
    """Changes the clean images."""

    def craft(self, x: Tensor, objective: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        return x.mul_(0.5)


class Restless(components.TinyAttack):
    """Starts from torch's own random stream."""

    def craft(self, x: Tensor, objective: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        return super().craft(x + 0.1 * torch.randn_like(x), objective, noise)


class NarrowAttack(gancore.Attack):
    """Gives some of the images, on a classifier alone."""

    gradient: ClassVar[str] = "logits"

    def fool(self, x: Tensor, label: Tensor, classify: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        return x[classify(x).argmax(1) == label]


class Cropping(gancore.Defense):
    """Gives smaller images."""

    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return x[..., 1:, 1:]


class Glaring(gancore.Defense):
    """Gives images beyond white."""

    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return x + 1


class Blocking(gancore.Defense):
    """Passes no gradient, and says that the attacker sees through it."""

    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        return x.detach().sign()


# -- loops -------------------------------------------------------------------------------------------------------------


TURNS = itertools.count()


class Dicing(gancore.Loop):
    """Takes turns by a number that no checkpoint holds."""

    def iteration(self, run: gancore.Run) -> None:
        batch = run.fresh()
        run.phase("discriminator", batch)
        for _ in range(1 + next(TURNS) % 3):
            run.phase("generator", run.renew(batch))


class EncoderLoop(gancore.Loop):
    """Sound, and trains a network that the host does not have."""

    players = ("discriminator", "generator", "encoder")

    def iteration(self, run: gancore.Run) -> None:
        batch = run.fresh()
        for player in self.players:
            run.phase(player, batch)


# -- networks ----------------------------------------------------------------------------------------------------------


class Bright(components.TinyGenerator):
    """Makes images beyond white."""

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return super().forward(z, label) + 0.5


class Comparing(components.TinyGenerator):
    """Makes an image that depends on the others of its batch, in evaluation too."""

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return super().forward(z - z.mean(0), label)


class PeekingDiscriminator(components.TinyDiscriminator):
    """Looks at its batch in training, and does not say so."""

    def forward(self, x: Tensor) -> Tensor:
        features = super().forward(x)
        return features - features.mean(0) if self.training else features


class Declared(PeekingDiscriminator):
    """Sound: looks at its batch, and says so."""

    batch_statistics: ClassVar[bool] = True


class Dropping(components.TinyDiscriminator):
    """Sound: drops values at random, which is no dependence on the batch."""

    def __init__(self, *, channels: int, image_size: int) -> None:
        super().__init__(channels=channels, image_size=image_size)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(super().forward(x))
        return dropped


class Mislabeled(components.TinyClassifier):
    """Says that its features are wider than they are."""

    def __init__(self, *, channels: int, image_size: int, classes: int) -> None:
        super().__init__(channels=channels, image_size=image_size, classes=classes)
        self.features = 9


class FloatOnly(components.TinyDiscriminator):
    """Computes in float32 whatever the precision."""

    def forward(self, x: Tensor) -> Tensor:
        features = super().forward(x)
        return features @ torch.eye(8, dtype=torch.float32) if features.dtype == torch.float32 else features * float("nan")


class Picky(components.TinyDiscriminator):
    """Takes images of no size."""

    def __init__(self, *, channels: int, image_size: int) -> None:
        raise gancore.GancoreError("it is for images of 7 pixels; choose others.")


class Encoder(gancore.Network):
    """Sound, and in no role that the host has."""

    frozen_needs_weights: ClassVar[bool] = False

    def __init__(self, *, channels: int, image_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels * image_size**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        code: Tensor = self.linear(x.flatten(1))
        return code


# -- data sets ---------------------------------------------------------------------------------------------------------


class Surprising(components.Noise):
    """Other images each time."""

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        images, labels = super().load(split)
        return torch.randint(0, 256, images.shape, dtype=torch.uint8), labels


class Gray(components.Noise):
    """Images of fewer channels than it says."""

    @property
    def info(self) -> gancore.DatasetInfo:
        return gancore.DatasetInfo(classes=4, channels=3, image_size=8)


class Unnamed(components.Noise):
    """Fewer names than classes."""

    @property
    def info(self) -> gancore.DatasetInfo:
        return gancore.DatasetInfo(classes=4, channels=1, image_size=8, class_names=("one",))


class Missing(components.Noise):
    """Sound, and not here."""

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        raise gancore.GancoreError("there is no such folder; set [data] path.")


# -- metrics -----------------------------------------------------------------------------------------------------------


class Piling(gancore.Metric):
    """Never forgets."""

    better: ClassVar[Mapping[str, str]] = {"brightness": "higher"}

    def __init__(self) -> None:
        self.sum, self.number = 0.0, 0

    def reset(self) -> None:
        pass

    def update(self, *, images: Tensor) -> None:
        self.sum += float(images.double().sum())
        self.number += 1

    def compute(self) -> dict[str, Any]:
        return {"brightness": self.sum}


class Batchwise(Piling):
    """Means of batches, whatever their sizes."""

    def reset(self) -> None:
        self.sum, self.number = 0.0, 0

    def update(self, *, images: Tensor) -> None:
        self.sum += float(images.std())
        self.number += 1

    def compute(self) -> dict[str, Any]:
        return {"brightness": self.sum / self.number}


class Meddling(gancore.Metric):
    """Trains the network that it scores."""

    def score_run(self, run: gancore.Run) -> dict[str, Any]:
        run.networks["classifier"].linear.bias.data.add_(1)
        return {"score": 1.0}


class Endless(gancore.Metric):
    """Divides by nothing."""

    def score_run(self, run: gancore.Run) -> dict[str, Any]:
        return {"score": float("inf")}


class Misread(Batchwise):
    """Forgets half of the real images on their way through a file."""

    def __init__(self) -> None:
        super().__init__()
        self.real: list[Tensor] = []

    def update_real(self, *, images: Tensor) -> None:
        self.real.append(images.mean((1, 2, 3)))

    def real_state(self) -> dict[str, Tensor]:
        return {"means": torch.cat(self.real)[::2].clone()}

    def load_real_state(self, state: Mapping[str, Tensor]) -> None:
        self.real = [state["means"]]

    def update(self, *, images: Tensor) -> None:
        self.sum += float(images.double().sum())

    def compute(self) -> dict[str, Any]:
        return {"brightness": self.sum - float(torch.cat(self.real).double().sum())}


# -- optimizers and schedules ------------------------------------------------------------------------------------------


class CountingDescent(torch.optim.SGD):
    """Counts its steps outside of its state.

    Args:
        lr: Learning rate.
    """

    def __init__(self, params: Collection[nn.Parameter], *, lr: float = 0.05) -> None:
        super().__init__(params, lr=lr)
        self.steps = 0

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        self.steps += 1
        for group in self.param_groups:
            group["lr"] = 0.05 / self.steps
        super().step()


class NoisyDescent(CountingDescent):
    """Draws from torch's own random stream, which is another in each process."""

    def step(self, closure: None = None) -> None:
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.add_(torch.randn_like(parameter), alpha=0.01)


def remembering() -> gancore.Factor:
    """Return what falls with each call."""
    calls: list[int] = []

    def factor(iteration: int) -> float:
        calls.append(iteration)
        return 1 / len(calls)

    return factor


def dividing() -> gancore.Factor:
    """Return what is not finite in the middle."""
    return lambda iteration: float("nan") if iteration == 5 else 1.0


# -- what users see ----------------------------------------------------------------------------------------------------


def skipping(run: Any, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    """Accelerate by a step that is not taken."""
    tell("on")

    def faster() -> None:
        step() if run.iteration % 2 else setattr(run, "iteration", run.iteration + 1)

    return faster


def silent(run: Any, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    """Say nothing."""
    return step


def eager(words: list[str], *, folder: Path, number: int | None, pending: int) -> str:
    """Says what it does in the end alone."""
    return "submitted"


def stray(images: Tensor, path: Path, *, columns: int | None = None) -> None:
    """Write beside the file that is asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".txt").write_text(str(images.shape))


class Helpless(click.Command):
    """Fails when it is asked for help."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        raise RuntimeError("no help")


helpless = Helpless("helpless")
