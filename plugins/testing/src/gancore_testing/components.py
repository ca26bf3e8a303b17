"""The components of the host. What their methods take and return is what their base classes say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gancore
from gancore import gather

if TYPE_CHECKING:
    from gancore import Run


class TinyGenerator(gancore.Generator):
    """One linear layer and tanh. Labels, classes or attributes, move the latent, though not before the first step."""

    frozen_needs_weights = False
    groups = True

    def __init__(self, *, channels: int, image_size: int, latent_dim: int, group_size: int = 1) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = (*[group_size] * (group_size > 1), channels, image_size, image_size)
        self.linear = nn.Linear(latent_dim, group_size * channels * image_size**2)
        self.direction = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        if label is not None:
            z = z + label.view(len(z), -1).float().mean(1, keepdim=True) * self.direction
        return torch.tanh(self.linear(z)).view(-1, *self.shape)


class TinyDiscriminator(gancore.Discriminator):
    """Two linear layers; of a group the mean of its images' features."""

    frozen_needs_weights = False
    features = 8
    groups = True

    def __init__(self, *, channels: int, image_size: int) -> None:
        super().__init__()
        size = channels * image_size**2
        self.layers = nn.Sequential(nn.Flatten(-3), nn.Linear(size, 16), nn.LeakyReLU(0.1), nn.Linear(16, 8), nn.Softplus())

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features if x.ndim == 4 else features.mean(1)


class TinyClassifier(gancore.Classifier):
    """Two linear layers."""

    frozen_needs_weights = False

    def __init__(self, *, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        self.features, self.classes = 8, classes
        self.hidden = nn.Linear(channels * image_size**2, 8)
        self.linear = nn.Linear(8, classes)

    def embed(self, x: Tensor) -> Tensor:
        return torch.tanh(self.hidden(x.flatten(1)))

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(features)
        return logits


class ClassHead(gancore.Head):
    """Class logits."""

    gives_classes: ClassVar[bool] = True

    def __init__(self, *, features: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = self.linear(features)
        return logits


class LinearHead(ClassHead):
    """One logit."""

    gives_classes: ClassVar[bool] = False

    def __init__(self, *, features: int) -> None:
        super().__init__(features=features, classes=1)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        return super().forward(features, label).squeeze(1)


class NonSaturating(gancore.LossTerm):
    """The non-saturating game (Goodfellow et al. 2014, arXiv:1406.2661): smooth, each side by itself."""

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        return F.softplus(-real_adversarial).mean() + F.softplus(fake_adversarial).mean()

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        return F.softplus(-fake_adversarial).mean()

    def attacked(self, *, real_adversarial: Tensor) -> Tensor:
        return F.softplus(-real_adversarial)


class Hinge(gancore.LossTerm):
    """The hinge game (Lim & Ye 2017, arXiv:1705.02894): an image that is judged well enough leaves no gradient."""

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        return F.relu(1 - real_adversarial).mean() + F.relu(1 + fake_adversarial).mean()

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        return -fake_adversarial.mean()


class RelativisticAverage(gancore.LossTerm):
    """The relativistic average game (Jolicoeur-Martineau 2018, arXiv:1807.00734): both players compare the sides."""

    mean_over_images = False

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        real, fake = gather(real_adversarial), gather(fake_adversarial)
        return F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()

    def generator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        return self.discriminator(real_adversarial=fake_adversarial, fake_adversarial=real_adversarial)


class LeastSquares(gancore.LossTerm):
    """Least squares of all that the head ``tested`` gives, whatever its shape.

    Each image has a weight of its own, so that no two processes want the same of what a head gathers for its own images.
    """

    def discriminator(self, *, real_tested: Tensor, fake_tested: Tensor, noise: torch.Generator) -> Tensor:
        return self.weighed(real_tested - 1, noise) + self.weighed(fake_tested + 1, noise)

    def generator(self, *, fake_tested: Tensor, noise: torch.Generator) -> Tensor:
        return self.weighed(fake_tested - 1, noise)

    def weighed(self, error: Tensor, noise: torch.Generator) -> Tensor:
        return (2 * gancore.rand((len(error), 1), noise) * error.view(len(error), -1).square()).mean()


class CrossEntropy(gancore.LossTerm):
    """Cross entropy of a classifier."""

    def classifier(self, *, real_classifier: Tensor, real_label: Tensor) -> Tensor:
        return F.cross_entropy(real_classifier, real_label)

    def attacked(self, *, real_classifier: Tensor, real_label: Tensor) -> Tensor:
        return F.cross_entropy(real_classifier, real_label, reduction="none")


class Normal(gancore.Latent):
    """Standard normal latents, and labels that core draws.

    Args:
        labels: How they are distributed.
    """

    def __init__(self, *, latent_dim: int, labels: Literal["uniform", "data"] = "uniform") -> None:
        super().__init__()
        self.latent_dim, self.labels = latent_dim, labels

    def draw(self, number: int, noise: torch.Generator) -> gancore.Latents:
        return gancore.Latents(torch.randn((number, self.latent_dim), generator=noise, device=noise.device))


class Turns(gancore.Loop):
    """A turn of each player on one batch.

    Args:
        players: Whose turn it is, one after another.
    """

    def __init__(self, *, players: list[str]) -> None:
        super().__init__()
        self.players = players

    def iteration(self, run: Run) -> None:
        batch = run.fresh()
        for player in self.players:
            run.phase(player, batch)


class TinyAttack(gancore.Attack):
    """A step of gradient ascent.

    Args:
        epsilon: The most that a value of an image changes.
    """

    def __init__(self, *, epsilon: float = 2.0) -> None:
        super().__init__()
        self.epsilon = epsilon

    def craft(self, x: Tensor, objective: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        leaf = x.detach().requires_grad_()
        (grad,) = torch.autograd.grad(objective(leaf).sum(), leaf)
        return (x + grad.clamp(-self.epsilon, self.epsilon)).clamp(-1, 1)


class Noise(gancore.Dataset):
    """Forty images of noise, of four classes.

    Args:
        channels: Number of channels.
        image_size: Pixels a side.
    """

    def __init__(self, *, channels: int = 1, image_size: int = 8) -> None:
        self.shape = (channels, image_size, image_size)

    @property
    def info(self) -> gancore.DatasetInfo:
        return gancore.DatasetInfo(classes=4, channels=self.shape[0], image_size=self.shape[1])

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        noise = torch.Generator().manual_seed(len(split))
        return torch.randint(0, 256, (40, *self.shape), generator=noise, dtype=torch.uint8), torch.arange(40) % 4
