"""The components of a run, built from a plan: samplers, networks, heads, loss terms, the attack, players, the average."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gancore.contract import Attack, Classifier, Factor, Latent, Loop, LossTerm, Network, Run, Sampler, settings_of
from gancore.engine.batches import Batches
from gancore.engine.players import MovingAverage, Player
from gancore.errors import GancoreError
from gancore.files import as_path, fingerprint, load_weights
from gancore.parallel import collectives, derive, distributed, noise_for, synchronize
from gancore.plan import DISCRIMINATOR, GENERATOR, Plan, Planned


class Parts:
    """Everything that a plan names, by recipe label, alive on a device.

    Attributes:
        files: Weights files of what was trained first, by its place, e.g. ``networks.classifier``.
        prior: What draws the latents; None without a generator.
        sees_labels: Whether the discriminator's backbone takes labels.
        weights: The weights of the loss terms, on the device.
        weight_factors: The schedules of those that have one.
        factors: All schedules, by the place of the number that each changes.
        averages: The generator's moving averages, by the names by which samples and scores ask for them.
        loaded: Fingerprints of the weights that were read from files, by their place.
        batch_norms_apart: Classes of batch norm whose statistics are of each process's images alone; empty in one process.

    Raises:
        GancoreError: Something in the plan can't be built.
    """

    def __init__(self, plan: Plan, device: torch.device, weights: Mapping[str, Path]) -> None:
        self.plan = plan
        self.device = device
        self.files = weights
        self.loaded: dict[str, str] = {}
        self.batch_norms_apart: set[str] = set()
        self.factors: dict[str, Factor] = {}
        self.samplers: dict[str, Sampler] = {
            label: self.make(f"samplers.{label}", planned, plan.context) for label, planned in plan.samplers.items()
        }
        self.batches = Batches(plan, self.samplers, device)
        self.prior: Latent | None = None if plan.latent is None else self.make("latent", plan.latent)
        self.networks: dict[str, Any] = {}
        # What the discriminator stands on says how wide its input is, so it comes first.
        for label in sorted(plan.networks, key=lambda name: name != plan.stands_on):
            self.networks[label] = self._network(label)
        if self.prior is not None and self.prior.network is not None:
            # Past `nn.Module`, in whose state a network of the recipe would stand twice.
            self.prior.__dict__["read"] = self.networks[self.prior.network]
        self.heads = self._heads()
        forward = None if DISCRIMINATOR not in self.networks else self.networks[DISCRIMINATOR].forward
        self.sees_labels = forward is not None and "label" in inspect.signature(forward).parameters
        self.attack: Attack | None = None if plan.attack is None else self.make("attack", plan.attack)
        self.loop: Loop = self.make("loop", plan.loop)
        self.terms: dict[str, LossTerm] = {label: self.make(f"losses.{label}", term) for label, term in plan.terms.items()}
        for term in self.terms.values():
            self._synchronize(term)
        self.weights = {label: torch.tensor(term.keys.weight, device=device) for label, term in plan.terms.items()}
        factors = {label: self._factors(f"losses.{label}") for label in plan.terms}
        self.weight_factors = {label: own["weight"] for label, own in factors.items() if own}
        self.players = {name: self._player(name) for name in plan.players}
        self.prepare_terms()
        ema = plan.recipe.ema
        self.averages: dict[str, MovingAverage] = {}
        if ema is not None:
            schedules = {"ema": self._factors("ema").get("decay")}
            for name, decay in {"ema": ema.decay, **ema.further}.items():
                self.averages[name] = MovingAverage(self.networks[GENERATOR], decay, ema.start, schedules.get(name))

    @torch.no_grad()
    def initialize(self, run: Run) -> None:
        """Let networks start from the images of the first batch; every process sees all of them."""
        asking = [name for name in self.players if self.plan.networks[name].cls.initialize is not Network.initialize]
        if not asking:
            return
        real = torch.cat(collectives.gather_list(self.batches.draw(0)[0].real))
        for name in asking:
            # The purpose keeps its spelling: another would give other weights.
            self.networks[name].initialize(real, noise_for(self.device, run.seed, "initialise", name))
        for average in self.averages.values() if GENERATOR in asking else ():
            average.network.load_state_dict(self.networks[GENERATOR].state_dict())
        # What terms and the loop keep of the networks is what they are now.
        self.prepare_terms()
        self.loop.prepare(run)

    @torch.no_grad()
    def prepare_terms(self) -> None:
        """Let loss terms register what follows from the players' parameters."""
        for player, (label, planned) in itertools.product(self.players.values(), self.plan.terms.items()):
            if {player.name, "prepare"} <= planned.methods.keys():
                known = {"player": player.name, "parameters": player.weights}
                term: Any = self.terms[label]
                term.prepare(**{need.name: known[need.name] for need in planned.methods["prepare"]})

    def context(self, cls: Any = None) -> dict[str, Any]:
        """Return what core knows for constructors; the class counts only where a class asks, for they need the data."""
        asked = {} if cls is None or "class_counts" not in settings_of(cls) else {"class_counts": self.batches.class_counts}
        return {**self.plan.context, "group_size": self.plan.group, **asked}

    def modules(self) -> dict[str, nn.Module]:
        """Every module with state that training changes, by its name in a checkpoint."""
        named: dict[str, Any] = {f"network.{name}": self.networks[name] for name in self.plan.players}
        tables: dict[str, Mapping[str, Any]] = {"head": self.heads, "loss": self.terms, "sampler": self.samplers}
        named |= {f"{kind}.{label}": module for kind, table in tables.items() for label, module in table.items()}
        named |= {"latent": self.prior, "attack": self.attack, "loop": self.loop}
        for name, average in self.averages.items():
            named[f"ema.{GENERATOR if name == 'ema' else name}"] = average.network
        return {name: module for name, module in named.items() if module is not None}

    def rows(self) -> Iterator[tuple[str, nn.Module, str]]:
        """Yield the buffers with a row for each image of a batch: name of the module, module, name of the buffer."""
        for name, module in self.modules().items():
            for buffer in sorted(getattr(module, "per_image", ())):
                yield name, module, buffer

    def make(self, place: str, planned: Any, context: Mapping[str, Any] | None = None) -> Any:
        """Build a component with initial weights that are a function of the seed and its place alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.plan.recipe.run.seed, "weights", place))
            built = planned.build(self.context(planned.cls) if context is None else context)
        return built.to(self.device) if isinstance(built, nn.Module) else built

    def _factors(self, place: str) -> dict[str, Factor]:
        """Build the schedules of the numbers in a place."""
        factors = self.plan.factors(place)
        self.factors |= {f"{place}.{name}": factor for name, factor in factors.items()}
        return factors

    def _load(self, module: nn.Module, place: str, planned: Planned[Any, Any]) -> None:
        path = self.files.get(place) or planned.keys.weights
        if path:
            load_weights(module, as_path(path, f"{planned.where}: weights"), where=planned.where)
            self.loaded[place] = fingerprint(module)

    def _network(self, label: str) -> Any:
        plan, planned = self.plan, self.plan.networks[label]
        on = plan.stands_on if label == DISCRIMINATOR else None
        inputs = {} if on is None else {"channels": self.networks[on].features, "image_size": 1}
        network = self.make(f"networks.{label}", planned, {**self.context(), **inputs})
        self._load(network, f"networks.{label}", planned)
        if planned.keys.input_mean is not None and planned.keys.input_std is not None:
            network = Normalized(network, planned.keys.input_mean, planned.keys.input_std, where=planned.where)
        network = network.to(self.device, memory_format=torch.channels_last)
        if label not in plan.players:
            return network.eval().requires_grad_(False)
        self._synchronize(network)
        return network.train()

    def _heads(self) -> dict[str, nn.Module]:
        if DISCRIMINATOR not in self.networks:
            return {}
        discriminator, heads = self.networks[DISCRIMINATOR], dict[str, nn.Module]()
        _check_batch_norm(discriminator, self.plan.networks[DISCRIMINATOR])
        width = {"features": discriminator.features, "spectral_norm": discriminator.spectral_norm}
        for label, planned in self.plan.heads.items():
            heads[label] = self.make(f"heads.{label}", planned, {**self.context(), **width}).train()
            self._load(heads[label], f"heads.{label}", planned)
            _check_batch_norm(heads[label], planned)
            self._synchronize(heads[label])
        return heads

    def _synchronize(self, network: nn.Module) -> None:
        self.batch_norms_apart |= synchronize(network) if distributed.world_size() > 1 else set()

    def _player(self, name: str) -> Player:
        plan, planned = self.plan, self.plan.optimizers[name]
        heads = list(self.heads.values()) if name == DISCRIMINATOR else []
        # A term's own parameters are trained with the first player, in the loop's order, whose loss it enters.
        first = {label: next(player for player in plan.players if player in term.methods) for label, term in plan.terms.items()}
        terms = [term for label, term in self.terms.items() if first[label] == name]
        optimizer, schedules = partial(planned.build, self.context()), self._factors(f"optimizers.{name}")
        return Player(name, self.networks[name], heads, optimizer, schedules, planned.where, terms)


def _check_batch_norm(module: nn.Module, planned: Planned[Any, Any]) -> None:
    if any(isinstance(layer, _BatchNorm) for layer in module.modules()) and not planned.cls.batch_statistics:
        raise GancoreError(
            f"{planned.where} has batch norm, but its class does not say batch_statistics = True; "
            "real and generated images would share their statistics."
        )


class Normalized(Classifier):
    """A classifier behind its own normalization of the input, which core's images in [-1, 1] do not have.

    Its mean and standard deviation are per channel, on the [0, 1] scale.
    """

    def __init__(self, network: Classifier, mean: list[float], std: list[float], *, where: str) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise GancoreError(f"{where}: input_mean has {len(mean)} channels and input_std {len(std)}; they must agree.")
        self.network, self.features, self.classes = network, network.features, network.classes
        self.register_buffer("scale", 0.5 / torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", ((0.5 - torch.tensor(mean)) / torch.tensor(std)).view(1, -1, 1, 1), persistent=False)
        self.scale: Tensor
        self.shift: Tensor

    def initialize(self, real: Tensor, noise: torch.Generator) -> None:
        """Let the classifier start from images as it sees them."""
        self.network.initialize(real * self.scale + self.shift, noise)

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to the classifier's features (N, F)."""
        return self.network.embed(x * self.scale + self.shift)

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        return self.network.classify(features)
