"""The public names as a type checker sees them: `make lint` has mypy read this file, and nothing runs it.

``assert_type`` says what an author's editor shows. A line with ``type: ignore`` must be an error: mypy complains of one that
hides none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, assert_type

import torch
from torch import Tensor

import gancore
from gancore.testing import conformance

assert_type(gancore.GANCORE_API, int)
assert_type(gancore.__version__, str)
assert_type(gancore.Component("penalty", "package.module:Penalty", "A penalty", cite="arXiv:1801.04406").cite, str)
assert_type(gancore.Range(0, 1, open_low=True).holds(0.5), bool)
assert_type(conformance("penalty"), Callable[[Callable[[], None]], None])
conformance("penalty", {"r1": {"gamma": 1.0}}, beside={"r1": {"heads": {"penalty": {"use": "standard/linear"}}}})

assert_type(gancore.train("my.toml", set={"run.seed": 1}).generate(4, classes=[3]), Tensor)
assert_type(gancore.load(Path("runs/mine"), components=[dict]).generator, torch.nn.Module)
gancore.train("my.toml", withs=["other"])  # type: ignore[call-arg]

gancore.Component("penalty")  # type: ignore[call-arg]
gancore.Range(0, 1, True)  # type: ignore[call-arg]
print(gancore.no_such_name)  # type: ignore[attr-defined]


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """A hook keeps its type under the decorator."""
    yield gancore.Component("penalty", "package.module:Penalty", "A penalty")


assert_type(gancore_loss_terms(), Iterator[gancore.Component])


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Recipes are folders."""
    yield Path(__file__).parent / "recipes"


@gancore.hookimpl
def gancore_logged(run: gancore.Run, iteration: int, values: Mapping[str, float]) -> None:
    """An observer sees a run by its protocol."""
    assert_type(run.losses, dict[str, Tensor])


class Penalty(gancore.LossTerm):
    """A loss term names what it computes with, so its methods are its own."""

    differentiates: ClassVar[frozenset[str] | set[str]] = {"real_view"}

    def __init__(self, *, gamma: Annotated[float, gancore.Range(0)] = 10.0, mode: Literal["hard", "soft"] = "hard") -> None:
        super().__init__()
        self.gamma = gamma
        self.mode = mode

    def discriminator(self, *, real_view: Tensor, real_adversarial: Tensor) -> Tensor:
        """R1."""
        (grad,) = torch.autograd.grad(real_adversarial.sum(), real_view, create_graph=True)
        return self.gamma / 2 * grad.square().sum((1, 2, 3)).mean()

    def generator(self, *, fake_classifier: Tensor, noise: torch.Generator) -> Tensor:
        """What is drawn for each image, and what is no mean over images, go through core."""
        drawn = gancore.randn(fake_classifier.shape, noise) + gancore.rand((len(fake_classifier), 1), noise)
        assert_type(drawn, Tensor)
        assert_type(gancore.gather(fake_classifier), Tensor)
        assert_type(gancore.global_sum(fake_classifier.sum(0)), Tensor)
        return gancore.global_mean((fake_classifier + drawn).mean(0)).square().sum()


gancore.rand(3, torch.Generator())  # type: ignore[arg-type]
gancore.rand((3, 4))  # type: ignore[call-arg]
gancore.global_mean(0.5)  # type: ignore[arg-type]


class Replay(gancore.Loop):
    """A loop is given a run by its protocol."""

    def iteration(self, run: gancore.Run) -> None:
        """Two turns of the discriminator on one batch, then one of the generator on new latents."""
        assert_type(run.iteration, int)
        assert_type(run.device, torch.device)
        assert_type(run.seed, int)
        assert_type(run.networks, dict[str, Any])
        batch = run.fresh()
        for _ in range(2):
            run.phase("discriminator", batch)
        run.phase("generator", run.renew(batch, 16), pieces=2)
        assert_type(run.players["generator"].optimizer, torch.optim.Optimizer)
        assert_type(run.players["generator"].parameters, list[torch.nn.Parameter])
        assert_type(run.folder, Path | None)
        run.renew(batch, "twice")  # type: ignore[arg-type]
        run.phase(batch)  # type: ignore[call-arg]
        assert_type(run.generate(run.latent(8, "replay", run.iteration)), Tensor)
        run.generate(8)  # type: ignore[arg-type]
        run.build("network", "standard/small-cnn", {"width": 0.5}, seed=1)
        run.players = {}  # type: ignore[misc]


class Backwards(gancore.Loop):
    """A loop that asks for anything else than a run is refused."""

    def iteration(self, run: str) -> None:  # type: ignore[override]
        """Never called."""


class Linear(gancore.Head):
    """A head maps features and labels."""

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """The sum of the features."""
        return features.sum(1)


class Makes(gancore.Generator):
    """A generator says how wide its latent is."""

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Images."""
        return z.tanh()


class Translates(gancore.Translator):
    """A generator whose images come from images."""

    def translate(self, images: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
        """The same images."""
        return images


class Judges(gancore.Discriminator):
    """A backbone says how wide its features are."""

    features = 8
    spectral_norm = True

    def forward(self, x: Tensor) -> Tensor:
        """Features."""
        return x.flatten(1)


class Classifies(gancore.Classifier):
    """A classifier in two steps."""

    features = 8
    classes = 10

    def embed(self, x: Tensor) -> Tensor:
        """Features."""
        return x.flatten(1)

    def classify(self, features: Tensor) -> Tensor:
        """Logits."""
        return features

    def forward(self, x: Tensor) -> str:  # type: ignore[override]
        """Logits are no text."""
        return ""


class Mixes(gancore.Sampler):
    """A sampler sees drawn batches."""

    def reads(self) -> Collection[str]:
        """One source."""
        return ["other"]

    def select(self, labels: Tensor, seed: int) -> Tensor:
        """All."""
        return torch.arange(len(labels))

    def draw(self, batch: gancore.Drawn, noise: torch.Generator) -> gancore.Drawn:
        """The batch as it is."""
        assert_type(batch.real, Tensor)
        assert_type(batch.sides, Mapping[str, tuple[Tensor, Tensor]])
        return batch

    def view(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """The images as they are."""
        return images

    def grouping(self, labels: Tensor, weights: Tensor | None) -> gancore.Grouping:
        """Each image beside any other."""
        return lambda first, noise: torch.stack([first, torch.randint(0, len(labels), first.shape, generator=noise)], 1)


class Codes(gancore.Latent):
    """A latent with a code of its own."""

    codes: ClassVar[Collection[str]] = ("angle",)

    def draw(self, number: int, noise: torch.Generator) -> gancore.Latents:
        """A code in the first place of z."""
        z = torch.randn(number, 4, generator=noise)
        return gancore.Latents(z, torch.zeros(number, dtype=torch.int64), {"angle": z[:, 0]})


assert_type(Codes().draw(2, torch.Generator()).codes, Mapping[str, Tensor])


class Perturbs(gancore.Attack):
    """An attack raises an objective."""

    def craft(self, x: Tensor, objective: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        """The images as they are."""
        return x + 0 * objective(x).sum()


class Blurs(gancore.Defense):
    """A defense changes what a classifier sees."""

    def prepare(self, run: gancore.Run) -> None:
        """Nothing is needed of the run."""

    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """The images as they are."""
        return x


class Pictures(gancore.Dataset):
    """An image set says what it is before it is read."""

    @property
    def info(self) -> gancore.DatasetInfo:
        """Ten classes."""
        return gancore.DatasetInfo(classes=10, channels=1, image_size=8)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """No image."""
        return torch.empty(0, 1, 8, 8, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)


class Gray(gancore.Images):
    """Images that are read by index."""

    shape = torch.Size((9, 1, 8, 8))

    def read(self, places: Tensor) -> Tensor:
        """Gray ones."""
        return torch.full((len(places), 1, 8, 8), 128, dtype=torch.uint8)


class Grays(Pictures):
    """An image set may give such images."""

    def load(self, split: str) -> tuple[gancore.Rows, Tensor]:  # type: ignore[override]
        """Nine of them."""
        return Gray(), torch.zeros(9, dtype=torch.int64)


assert_type(Pictures().info.class_names, tuple[str, ...])


class Counts(gancore.Metric):
    """A score, of generated images or of a run."""

    def reset(self) -> None:
        """Forget them."""
        self.number = 0

    def update(self, *, images: Tensor) -> None:
        """Count them."""
        self.number += len(images)

    def compute(self) -> dict[str, Any]:
        """Their number."""
        return {"images": self.number}

    def prepare(self, run: gancore.Run) -> None:
        """Refuse what can't be scored."""
        if "annotator" not in run.networks:
            raise gancore.GancoreError("the metric counts needs a network with the label annotator")


def network(label: str, run: gancore.Run) -> gancore.Network:
    """Networks are looked up by recipe label."""
    found: gancore.Network = run.networks[label]
    return found


def halved(*, start: int = 0) -> gancore.Factor:
    """Return a schedule, as an author writes one."""
    return lambda iteration: 0.5 if iteration >= start else 1.0


assert_type(halved(start=3)(4), float)
