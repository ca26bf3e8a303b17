"""The score: fresh critics that learn from one half of the images and are judged on the other (Im et al. 2018, Alg. 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from gancore_standard.tools import evenly, own_random_state, shuffled_epochs
from torch import Tensor, nn

import gancore
from gancore.tools import derive, load_split, noise_for, to_unit
from gancore_divergences.objectives import Witness, gc, iw, ls

Count = Annotated[int, gancore.Range(1)]
Objective = Callable[[Tensor, Tensor], Tensor]
OBJECTIVES: Mapping[str, Objective] = {"gc": gc, "ls": ls, "iw": iw}
WHERE = "Divergences"


class Divergences(gancore.Metric):
    """Divergences of a generator from the data, each by a critic of its own (Im et al. 2018, arXiv:1803.01045, Algorithm 1).

    A fresh critic maximizes its objective on images of the training half of the data and generated ones. Its objective on the
    test half, and on as many other generated images, is reported: ``gc``, ``ls``, ``iw`` and ``mmd``; see
    `gancore_divergences.objectives`. Lower is better, and 0 is a generator that gives the data. The halves are the data set's
    own, whatever the recipe's samplers take of it. The critic of ``iw`` has WGAN-GP's penalty, since the paper does not say
    what keeps its own Lipschitz; that of ``mmd`` is known. Values of other critics do not compare.

    Args:
        divergences: Which.
        critic: A discriminator, whose features a linear layer makes one number of. One that starts from data, for its virtual
            batch norm for example, is given as many images of the training half as a batch of the recipe has.
        critic_settings: Its settings.
        critic_steps: Steps of its training.
        critic_batch_size: Images of either side in a step.
        lr: Learning rate of Adam, whose betas are 0.5 and 0.999.
        penalty: Weight of the gradient penalty of ``iw``.
        bandwidth: Of the kernel of ``mmd``; by default the median distance of real images.
        most: Most images of either side that the critic of ``mmd`` is made from, and that any is judged on.
    """

    better: ClassVar[Mapping[str, str]] = dict.fromkeys((*OBJECTIVES, "mmd"), "lower")
    generates = True

    def __init__(
        self,
        *,
        divergences: list[Literal["gc", "ls", "iw", "mmd"]] | None = None,
        critic: str = "standard/mlp-discriminator",
        critic_settings: dict[str, Any] | None = None,
        critic_steps: Count = 500,
        critic_batch_size: Count = 64,
        lr: Annotated[float, gancore.Range(0, open_low=True)] = 1e-3,
        penalty: Annotated[float, gancore.Range(0)] = 10.0,
        bandwidth: Annotated[float, gancore.Range(1e-6)] | None = None,
        most: Annotated[int, gancore.Range(2)] = 2000,
    ) -> None:
        self.divergences: list[str] = list(divergences or self.better)
        self.critic = critic
        self.critic_settings = critic_settings or {}
        self.steps = critic_steps
        self.batch_size = critic_batch_size
        self.lr = lr
        self.penalty = penalty
        self.bandwidth = bandwidth
        self.most = most

    def prepare(self, run: gancore.Run) -> None:
        """Refuse a critic that can't be built, before anything is trained."""
        if set(self.divergences) & OBJECTIVES.keys():
            self._build(run, "gc")

    def score_run(self, run: gancore.Run) -> dict[str, Any]:
        """Return each divergence of the run's present generator.

        Raises:
            GancoreError: A critic diverges, or there is no median distance for the kernel of ``mmd``.
        """
        train, test = (load_split(run.plan.dataset, split)[0] for split in ("train", "test"))
        test = to_unit(evenly(test, self.most)).to(run.device)
        return {name: self._measured(run, name, train, test) for name in self.divergences}

    def protocol(self) -> dict[str, Any]:
        """Return everything that a critic's training depends on."""
        return {
            "critic": self.critic,
            "critic_settings": self.critic_settings,
            "critic_steps": self.steps,
            "critic_batch_size": self.batch_size,
            "lr": self.lr,
            "penalty": self.penalty,
            "bandwidth": "median" if self.bandwidth is None else self.bandwidth,
            "most_images": self.most,
            "learns_from": "train",
            "judged_on": "test",
        }

    def _measured(self, run: gancore.Run, name: str, train: gancore.Rows, test: Tensor) -> float:
        fake = self._generated(run, len(test), name, "test")
        if name == "mmd":
            real = to_unit(evenly(train, self.most)).to(run.device).flatten(1)
            witness = Witness(real, self._generated(run, len(real), name, "train").flatten(1), self.bandwidth)
            return float(iw(witness(test.flatten(1)), witness(fake.flatten(1))))
        critic = self._build(run, name)
        with own_random_state(run.device, derive(run.seed, "divergences", name)), torch.enable_grad():
            self._train(run, name, critic, train)
        critic.eval()
        with torch.no_grad():
            value = float(OBJECTIVES[name](critic(test), critic(fake)))
        if value != value:
            raise gancore.GancoreError(f"{WHERE}: the critic of {name} diverges at lr = {self.lr:g}; set a smaller lr.")
        return value

    def _build(self, run: gancore.Run, name: str) -> nn.Sequential:
        trunk = run.build("network", self.critic, self.critic_settings, seed=derive(run.seed, "critic", name))
        if not isinstance(trunk, gancore.Discriminator):
            raise gancore.GancoreError(f"{WHERE}: {self.critic} is no discriminator; name one by the setting critic.")
        with own_random_state(run.device, derive(run.seed, "divergences", name, "head")):
            head = nn.Linear(trunk.features, 1).to(run.device)
        return nn.Sequential(trunk, head, nn.Flatten(0))

    def _train(self, run: gancore.Run, name: str, critic: nn.Sequential, train: gancore.Rows) -> None:
        optimizer = torch.optim.Adam(critic.parameters(), lr=self.lr, betas=(0.5, 0.999))
        order = shuffled_epochs(len(train), self.steps, self.batch_size, noise_for("cpu", run.seed, "divergences", name))
        critic.train()
        self._initialize(run, name, critic[0], train)
        for step, chosen in enumerate(order):
            real, fake = to_unit(train[chosen]).to(run.device), self._generated(run, self.batch_size, name, step)
            loss = -OBJECTIVES[name](critic(real), critic(fake))
            if name == "iw":
                loss = loss + self.penalty * _penalty(critic, real, fake)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @torch.no_grad()
    def _initialize(self, run: gancore.Run, name: str, trunk: nn.Module, train: gancore.Rows) -> None:
        """Let a critic start from real images where it starts from any."""
        if isinstance(trunk, gancore.Network) and type(trunk).initialize is not gancore.Network.initialize:
            first = shuffled_epochs(
                len(train), 1, run.recipe.run.batch_size, noise_for("cpu", run.seed, "divergences", name, "initialize")
            )[0]
            trunk.initialize(
                to_unit(train[first]).to(run.device), noise_for(run.device, run.seed, "critic", name, "initialize")
            )

    def _generated(self, run: gancore.Run, number: int, *purpose: str | int) -> Tensor:
        """Return so many generated images (N, C, H, W); those of a group one by one."""
        images = run.generate(run.latent(number, "divergences", *purpose), run.recipe.evaluation.weights)
        return images.reshape(-1, *images.shape[-3:])[:number]


def _penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return E (|grad f| - 1)^2 at random points between real and generated images (Gulrajani et al. 2017, Eq. 3)."""
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    points = (real + share * (fake - real)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    slopes: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (slopes - 1).square().mean()
