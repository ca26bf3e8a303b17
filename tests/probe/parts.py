"""The components that `tests.probe` declares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gancore
import gancore.tools
from gancore.contract.data import Drawn

if TYPE_CHECKING:
    from gancore.engine.run import Run


class R1(gancore.LossTerm):
    """R1 penalty (Mescheder et al. 2018, Eq. 9)."""

    differentiates = frozenset({"real_view"})

    def discriminator(self, *, real_view: Tensor, real_adversarial: Tensor) -> Tensor:
        (grad,) = torch.autograd.grad(real_adversarial.sum(), real_view, create_graph=True)
        return grad.square().sum((1, 2, 3)).mean() / 2


class SmoothActivations(gancore.LossTerm):
    """Difference of the mean hidden activations of real and fake."""

    mean_over_images = False

    def generator(self, *, real_activations: list[Tensor], fake_activations: list[Tensor]) -> Tensor:
        pairs = zip(real_activations, fake_activations, strict=True)
        return torch.stack([(r.float().mean(0) - f.float().mean(0)).square().mean() for r, f in pairs]).sum()


class Invert(gancore.LossTerm):
    """The encoder recovers the latent; the generator helps."""

    def encoder(self, *, fake_encoder: Tensor, z: Tensor) -> Tensor:
        return F.mse_loss(fake_encoder, z)

    def generator(self, *, fake_encoder: Tensor, z: Tensor) -> Tensor:
        return F.mse_loss(fake_encoder, z)


class TwinAdversarial(gancore.LossTerm):
    """Non-saturating loss of a generator called twin."""

    def discriminator(self, *, twin_adversarial: Tensor) -> Tensor:
        return F.softplus(twin_adversarial).mean()

    def twin(self, *, twin_adversarial: Tensor) -> Tensor:
        return F.softplus(-twin_adversarial).mean()


class Mixture(gancore.Latent):
    """One component for each class, whose mean is drawn with the initial weights; the code is twice the label."""

    codes = ("twice",)
    labels = "of the components"
    any_label = False

    def __init__(self, *, latent_dim: int, class_counts: list[int]) -> None:
        super().__init__()
        self.means: Tensor
        self.register_buffer("means", torch.randn(len(class_counts), latent_dim))

    def draw(self, number: int, noise: torch.Generator) -> gancore.Latents:
        label = torch.randint(0, len(self.means), (number,), generator=noise)
        z = self.means[label] + 1e-3 * torch.randn(number, self.means.shape[1], generator=noise)
        return gancore.Latents(z, label, {"twice": 2 * label})


class Short(gancore.Latent):
    """One latent too few."""

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def draw(self, number: int, noise: torch.Generator) -> gancore.Latents:
        return gancore.Latents(torch.zeros(number - 1, self.latent_dim), torch.zeros(number, dtype=torch.int64))


class EveryClass(gancore.Latent):
    """Labels of its own, of every class, whether it occurs or not."""

    labels = "uniform"

    def __init__(self, *, latent_dim: int, classes: int) -> None:
        super().__init__()
        self.latent_dim, self.classes = latent_dim, classes

    def draw(self, number: int, noise: torch.Generator) -> gancore.Latents:
        z = torch.randn((number, self.latent_dim), generator=noise)
        return gancore.Latents(z, torch.randint(0, self.classes, (number,), generator=noise))


class Halves(EveryClass):
    """Labels that are no whole numbers."""

    any_label = False

    def draw(self, number: int, noise: torch.Generator) -> gancore.Latents:
        return gancore.Latents(torch.zeros(number, self.latent_dim), torch.full((number,), 0.5))


class Never(gancore.Sampler):
    """Never draws a class that it leaves among the images."""

    def __init__(self, *, label: int) -> None:
        super().__init__()
        self.label = label

    def weights(self, labels: Tensor) -> Tensor:
        return (labels != self.label).double()


class Clashing(gancore.Latent):
    """A code whose name is a network's."""

    codes = ("classifier",)


class Scored(gancore.Latent):
    """A code whose name a metric has for something else."""

    codes = ("labels",)


class Doubled(gancore.Metric):
    """How often the mixture's code is twice the label."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.agreed: list[Tensor] = []

    def update(self, *, labels: Tensor, twice: Tensor) -> None:
        self.agreed.append(twice == 2 * labels)

    def compute(self) -> dict[str, Any]:
        agreed = torch.cat(self.agreed)
        return {"rows": len(agreed), "agree": float(agreed.float().mean())}


class Predict(gancore.LossTerm):
    """Asks for the mixture's code."""

    def generator(self, *, fake: Tensor, fake_label: Tensor, twice: Tensor) -> Tensor:
        assert torch.equal(twice, 2 * fake_label)
        return (fake.mean((1, 2, 3)) * twice).mean()


class Descent(torch.optim.Optimizer):
    """Gradient descent, in the manner of torch's own optimizers."""

    def __init__(self, params: Any, lr: float = 0.1, *, sign: bool = False) -> None:
        super().__init__(params, {"lr": lr, "sign": sign})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                grad = parameter.grad.sign() if group["sign"] else parameter.grad
                parameter.sub_(group["lr"] * grad)
                self.remember(self.state[parameter])

    def remember(self, state: dict[str, Any]) -> None:
        """Keep nothing."""


class Forgetful(Descent):
    """Counts its steps in a Python number, which no checkpoint keeps."""

    def remember(self, state: dict[str, Any]) -> None:
        state["step"] = state.get("step", 0) + 1


def thirds(*, iterations: int, top: float = 1.0) -> gancore.Factor:
    """Rise from a third in steps of a third, of a run of three iterations."""
    assert iterations == 8
    return lambda iteration: top * (iteration + 1) / 3


class Clip(gancore.LossTerm):
    """Clips the discriminator's parameters; adds nothing to its loss."""

    def discriminator(self, *, real_adversarial: Tensor) -> Tensor:
        return real_adversarial.mean() * 0

    def project(self, player: str, parameters: Sequence[Tensor]) -> None:
        for parameter in parameters:
            parameter.clamp_(-0.05, 0.05)


class Nothing(gancore.LossTerm):
    """Value 1 whatever happens; for weight 0 and schedules."""

    def discriminator(self, *, real_adversarial: Tensor) -> Tensor:
        return real_adversarial.square().mean()


class Balance(gancore.LossTerm):
    """Weighs a classifier's mean decisions by how often it has decided so in the last cycles.

    Args:
        classes: Number of classes.
        cycle: Steps of the generator between two updates of the weights.
    """

    mean_over_images = False

    def __init__(self, *, classes: int, cycle: Annotated[int, gancore.Range(1)] = 2000) -> None:
        super().__init__()
        self.cycle = cycle
        self.register_buffer("counts", torch.zeros(classes))
        self.register_buffer("class_weights", torch.ones(classes))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("class_index", torch.arange(classes), persistent=False)

    def generator(self, *, fake_classifier: Tensor) -> Tensor:
        probability = gancore.global_mean(fake_classifier.softmax(1).mean(0))
        return (self.class_weights * probability * probability.log()).sum()

    def observe(self, *, fake_classifier: Tensor) -> None:
        decided = fake_classifier.argmax(1, keepdim=True) == self.class_index
        self.counts.add_(gancore.global_sum(decided.sum(0).float()))
        self.steps.add_(1)
        ended = self.steps >= self.cycle
        self.class_weights.copy_(torch.where(ended, 1 / (1 + self.counts), self.class_weights))
        self.counts.masked_fill_(ended, 0)
        self.steps.masked_fill_(ended, 0)


class Uncertain(gancore.LossTerm):
    """A loss with a learned weight: exp(-s) L + s (Kendall et al. 2018, Eq. 10), in both players' losses."""

    def __init__(self, *, frozen: bool = False) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.zeros(()), requires_grad=not frozen)

    def discriminator(self, *, real_adversarial: Tensor) -> Tensor:
        return (-self.s).exp() * real_adversarial.square().mean() + 3 * self.s

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        return (-self.s).exp() * fake_adversarial.square().mean() + 3 * self.s


class Untouchable(gancore.LossTerm):
    """A game on raw logits that does not say what an attack on it raises."""

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        return (fake_adversarial - real_adversarial).mean()

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        return -fake_adversarial.mean()


class Greedy(gancore.LossTerm):
    """Wants an attack to raise hidden activations."""

    def discriminator(self, *, real_activations: list[Tensor]) -> Tensor:
        return real_activations[0].square().mean()

    def attacked(self, *, real_activations: list[Tensor]) -> Tensor:
        return real_activations[0].flatten(1).square().mean(1)


class Whole(gancore.Metric):
    """Scores a run by its iteration, and refuses one without an annotator."""

    def prepare(self, run: gancore.Run) -> None:
        if "annotator" not in run.networks:
            raise gancore.GancoreError("there is no annotator.")

    def score_run(self, run: gancore.Run) -> dict[str, Any]:
        return {"iteration": run.iteration}


class Learned(gancore.Metric):
    """How well a classifier that learns from generated images of two classes labels real ones.

    Args:
        steps: Of its training.
    """

    generates = True

    def __init__(self, *, steps: int = 20) -> None:
        self.steps = steps

    def score_run(self, run: gancore.Run) -> dict[str, Any]:
        model = run.build("network", "standard/small-cnn", {"width": 0.5})
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(self.steps):
            latents = run.latent(32, "learned", step)
            loss = F.cross_entropy(model(run.generate(latents)), latents.label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        images, labels = gancore.tools.load_split(run.plan.dataset, "test")
        return {"accuracy": float((model(gancore.tools.to_unit(images)).argmax(1) == labels).float().mean())}


class NormedHead(gancore.Head):
    """One logit of normed features."""

    batch_statistics = True

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(features)
        self.linear = nn.Linear(features, 1)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.norm(features)).squeeze(1)
        return logits


class Difference(gancore.Sampler):
    """A share alpha of the fake batch is data of the classes to avoid (DSGAN, appendix C), drawn from the batch itself."""

    joins = ("fake",)

    def __init__(self, *, alpha: float = 0.25) -> None:
        super().__init__()
        self.alpha = alpha

    def draw(self, batch: Drawn, noise: torch.Generator) -> Drawn:
        number = int(self.alpha * len(batch.real))
        chosen = torch.randperm(len(batch.real), generator=noise, device=noise.device)[:number]
        return attrs.evolve(batch, joined={"fake": (batch.real[chosen], batch.real_label[chosen])})


class Pairs(gancore.Sampler):
    """Stacks each image with its neighbor, as one sample of twice the channels."""

    def draw(self, batch: Drawn, noise: torch.Generator) -> Drawn:
        return attrs.evolve(batch, real=torch.cat([batch.real, batch.real.roll(1, 0)], 1))


class Noisy(gancore.Sampler):
    """Adds noise to the real images."""

    def draw(self, batch: Drawn, noise: torch.Generator) -> Drawn:
        added = 0.1 * torch.randn(batch.real.shape, generator=noise, device=batch.real.device)
        return attrs.evolve(batch, real=(batch.real + added).clamp(-1, 1))


class Dim(gancore.Sampler):
    """Drops pixels at random before D sees an image (AmbientGAN)."""

    def view(self, images: Tensor, noise: torch.Generator) -> Tensor:
        kept = torch.rand(images.shape, generator=noise, device=images.device) < 0.8
        return images * kept


class Free(gancore.Attack):
    """One perturbation that lives for the whole training (Shafahi et al. 2019)."""

    gradient = "shared"
    per_image = frozenset({"delta"})

    def __init__(
        self, *, channels: int, image_size: int, batch_size: int, epsilon: float = 0.02, step: float | None = None
    ) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.step = epsilon if step is None else step
        delta = torch.empty(batch_size, channels, image_size, image_size).uniform_(-epsilon, epsilon)
        self.register_buffer("delta", delta)
        self.delta: Tensor

    def perturb(self, x: Tensor) -> Tensor:
        return (x + self.delta[: len(x)]).clamp(-1, 1)

    def update(self, grad: Tensor, x: Tensor) -> None:
        moved = self.delta[: len(x)] + self.step * grad.sign()
        self.delta[: len(x)] = moved.clamp(-self.epsilon, self.epsilon)


class SignSteps(gancore.Attack):
    """PGD without a random start."""

    def __init__(self, *, epsilon: float = 0.05, steps: int = 2) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.steps = steps

    def craft(self, x: Tensor, objective: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        adversarial = x
        for _ in range(self.steps):
            leaf = adversarial.detach().requires_grad_()
            (grad,) = torch.autograd.grad(objective(leaf).sum(), leaf)
            moved = leaf.detach() + self.epsilon / self.steps * grad.sign()
            adversarial = (x + (moved - x).clamp(-self.epsilon, self.epsilon)).clamp(-1, 1)
        return adversarial


class Replay(gancore.Loop):
    """Free adversarial replay: the discriminator sees one batch several times."""

    def __init__(self, *, replays: int = 2) -> None:
        super().__init__()
        self.replays = replays

    def iteration(self, run: Run) -> None:
        batch = run.fresh()
        for _ in range(self.replays):
            run.phase("discriminator", batch)
        run.phase("generator", run.renew(batch))


class Lookahead(gancore.Loop):
    """Every `k` iterations the weights go back towards where they were then (Zhang et al. 2019, arXiv:1907.08610, Alg. 1)."""

    done: Tensor

    def __init__(self, *, k: int = 3, alpha: float = 0.5) -> None:
        super().__init__()
        self.k, self.alpha = k, alpha
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    def prepare(self, run: Run) -> None:
        for name, player in run.players.items():
            for number, parameter in enumerate(player.parameters):
                self.register_buffer(f"{name}_{number}", parameter.detach().clone())

    @torch.no_grad()
    def iteration(self, run: Run) -> None:
        with torch.enable_grad():
            batch = run.fresh()
            run.phase("discriminator", batch)
            run.phase("generator", run.renew(batch))
        self.done += 1
        back = self.done % self.k == 0
        for name, player in run.players.items():
            for number, parameter in enumerate(player.parameters):
                slow = getattr(self, f"{name}_{number}")
                slow.copy_(torch.where(back, slow.lerp(parameter, self.alpha), slow))
                parameter.copy_(torch.where(back, slow, parameter))


class ThreePlayers(gancore.Loop):
    """A third player in the game."""

    players = ("generator", "discriminator", "encoder")

    def iteration(self, run: Run) -> None:
        batch = run.fresh()
        for player in ("discriminator", "encoder", "generator"):
            run.phase(player, batch)


class TwoGenerators(gancore.Loop):
    """Two generators against one discriminator."""

    players = ("generator", "twin", "discriminator")

    def iteration(self, run: Run) -> None:
        batch = run.fresh()
        for player in ("discriminator", "generator", "twin"):
            run.phase(player, batch)


class Encoder(gancore.Network):
    """Image to latent."""

    def __init__(self, *, channels: int, image_size: int, latent_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels * image_size**2, latent_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


class TinyGenerator(gancore.Generator):
    """One linear layer and tanh; `copies` images per sample side by side in the channels."""

    def __init__(self, *, channels: int, image_size: int, latent_dim: int, copies: int = 1) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = (channels * copies, image_size, image_size)
        self.linear = nn.Linear(latent_dim, math.prod(self.shape))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.tanh(self.linear(z)).view(-1, *self.shape)


class BoundedGenerator(TinyGenerator):
    """A generator whose weights stay in an l_inf ball."""

    def project_(self) -> None:
        self.linear.weight.clamp_(-0.01, 0.01)


class TinyDiscriminator(gancore.Discriminator):
    """Linear, LeakyReLU, dropout, linear."""

    features = 16

    def __init__(self, *, channels: int, image_size: int, copies: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * copies * image_size**2, 32),
            nn.LeakyReLU(0.1),
            nn.Dropout(dropout),
            nn.Linear(32, 16),
            nn.LeakyReLU(0.1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Standardizing(TinyDiscriminator):
    """Centers images by the first batch, and scales them by a parameter that starts from it."""

    def __init__(self, *, channels: int, image_size: int) -> None:
        super().__init__(channels=channels, image_size=image_size)
        self.register_buffer("center", torch.zeros(()))
        self.scale = nn.Parameter(torch.ones(()))

    def initialize(self, real: Tensor, noise: torch.Generator) -> None:
        self.center.copy_(real.mean() + 0.1 * torch.rand((), generator=noise))
        self.scale.copy_(1 / real.std())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x - self.center) * self.scale)
