"""A run: everything alive in one training, built from a plan."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from gancore.contract import Attack, Drawn, Latent, Latents, LossTerm, Sampler, settings_of
from gancore.engine.allocator import keep_freed_memory
from gancore.engine.batches import Selection, own_rows
from gancore.engine.data import ImageStore, ImageStream, IndexStream
from gancore.engine.parts import Normalized
from gancore.engine.phase import Phase
from gancore.engine.players import MovingAverage, Player
from gancore.engine.precision import choose_precision
from gancore.engine.spans import span
from gancore.engine.values import Batch
from gancore.errors import GancoreError, listed
from gancore.files import load_weights
from gancore.parallel import derive, distributed, noise_for, synchronize
from gancore.plan import DISCRIMINATOR, GENERATOR, Plan, construct, plan_phase


class Run:
    """Everything alive in one training run. Loops and observers use it; a term never does.

    Args:
        plan: What to build.
        device: Where it computes.
        weights: Weights files of parts that were trained first, by their place, e.g. ``networks.classifier``.

    Attributes:
        plan: The plan.
        recipe: Its recipe.
        device: Where it computes.
        precision: ``float32`` or ``bfloat16``.
        precision_why: Who chose it.
        networks: Every network by recipe label.
        heads: The discriminator's heads.
        terms: The loss terms.
        samplers: The samplers, in order.
        prior: What draws the latents; None without a generator.
        attack: The attack, if any.
        players: The trained networks with their optimizers.
        average: The generator's moving average, if the recipe asks for one.
        iteration: The current iteration, from 0; after training, their number.
        losses: The newest value of every loss on this process's images, ``player/label`` -> 0-d tensor.
        rank: This process's number; 0 where there is one alone.
        batch_norms_apart: Classes of batch norm whose statistics are of each process's images alone; empty in one process.

    Raises:
        GancoreError: Something in the plan can't be built, or the processes can't share its batch evenly.
    """

    average_of = GENERATOR

    def __init__(self, plan: Plan, device: torch.device, weights: Mapping[str, Path] | None = None) -> None:
        if device.type == "cpu":
            keep_freed_memory()
        self.plan = plan
        self.recipe = plan.recipe
        self.device = device
        self.seed = plan.recipe.run.seed
        self.rank = distributed.rank()
        distributed.rows_each(plan.recipe.run.batch_size, f"{plan.recipe.name}: run.batch_size")
        self.batch_norms_apart: set[str] = set()
        chosen = choose_precision(plan.recipe.run.precision, device)
        self.precision, self.precision_why = chosen.name, chosen.why
        self.iteration = 0
        self.turn = 0
        self.draws = 0
        self.latents = 0
        self.losses: dict[str, Tensor] = {}
        self.iteration_tensor = torch.zeros((), dtype=torch.int64, device=device)
        self._phases: dict[tuple[str, frozenset[str]], Phase] = {}
        self._build(weights or {})

    # -- building ------------------------------------------------------------------------------------------------------

    def context(self, *, counts: bool = False) -> dict[str, Any]:
        """Return what core knows for constructors; the class counts only when asked, for they need the data read."""
        return {**self.plan.context, "class_counts": self.class_counts} if counts else self.plan.context

    def _context_of(self, cls: type) -> dict[str, Any]:
        return self.context(counts="class_counts" in settings_of(cls))

    def _make(self, label: str, built: Any, context: Mapping[str, Any]) -> Any:
        """Build a part with initial weights that are a function of the seed and its label alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.seed, "weights", label))
            part = construct(built, context)
        if isinstance(part, nn.Module):
            part = part.to(self.device)
        return part

    def _build(self, weights: Mapping[str, Path]) -> None:
        context = self.context()
        self.samplers: dict[str, Sampler] = {
            label: self._make(f"samplers.{label}", built, context) for label, built in self.plan.samplers.items()
        }
        latent = self.plan.latent
        self.prior: Latent | None = None if latent is None else self._make("latent", latent, self._context_of(latent.cls))
        self.networks: dict[str, Any] = {}
        on = self.plan.stands_on
        # What the discriminator stands on says how wide its input is, so it comes first.
        for label, planned in sorted(self.plan.networks.items(), key=lambda item: item[0] != on):
            inputs = {"channels": self.networks[on].features, "image_size": 1} if on and label == DISCRIMINATOR else {}
            network = self._make(f"networks.{label}", planned, {**context, **inputs})
            path = weights.get(f"networks.{label}") or (planned.keys.weights and Path(planned.keys.weights).expanduser())
            if path:
                load_weights(network, Path(path), where=planned.part.where)
            if planned.keys.input_mean is not None and planned.keys.input_std is not None:
                network = Normalized(network, planned.keys.input_mean, planned.keys.input_std, where=planned.part.where)
            network = network.to(self.device, memory_format=torch.channels_last)
            if planned.trained and distributed.world_size() > 1:
                self.batch_norms_apart |= synchronize(network)
            self.networks[label] = network.train() if planned.trained else network.eval().requires_grad_(False)
        self.heads = self._build_heads(context, weights)
        self.attack: Attack | None = None if self.plan.attack is None else self._make("attack", self.plan.attack, context)
        self.terms: dict[str, LossTerm] = {}
        for label, term in self.plan.terms.items():
            self.terms[label] = self._make(f"losses.{label}", term, self._context_of(term.cls))
        self.weights = {
            label: torch.tensor(term.keys.weight, dtype=torch.float32, device=self.device)
            for label, term in self.plan.terms.items()
        }
        self.players = {name: self._player(name) for name in self.plan.players}
        ema = self.recipe.ema
        self.average = None if ema is None else MovingAverage(self.networks[GENERATOR], decay=ema.decay, start=ema.start)
        # Every process has drawn the same weights; where machines differ, their arithmetic may not agree to the last bit.
        distributed.broadcast(value for module in self.modules().values() for value in module.state_dict().values())
        for _, module, buffer in self._rows():
            setattr(module, buffer, distributed.own_rows(getattr(module, buffer)).clone())

    def _build_heads(self, context: Mapping[str, Any], weights: Mapping[str, Path]) -> dict[str, nn.Module]:
        if "discriminator" not in self.networks:
            return {}
        discriminator = self.networks["discriminator"]
        backbone = self.plan.networks["discriminator"]
        has_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in discriminator.modules())
        if has_norm and not getattr(backbone.cls, "batch_statistics", False):
            raise GancoreError(
                f"{backbone.part.where} has batch norm, but its class does not say batch_statistics = True; "
                "real and generated images would share their statistics."
            )
        extra = {"features": discriminator.features, "spectral_norm": discriminator.spectral_norm}
        heads: dict[str, nn.Module] = {}
        for label, planned in self.plan.heads.items():
            heads[label] = self._make(f"heads.{label}", planned, {**context, **extra}).train()
            path = weights.get(f"heads.{label}") or (planned.keys.weights and Path(planned.keys.weights).expanduser())
            if path:
                load_weights(heads[label], Path(path), where=planned.part.where)
            if distributed.world_size() > 1:
                self.batch_norms_apart |= synchronize(heads[label])
        return heads

    def _rows(self) -> list[tuple[str, nn.Module, str]]:
        """Return the buffers whose rows belong to the images of a batch: name of the module, module, name of the buffer."""
        parts: dict[str, nn.Module] = {f"loss.{label}": term for label, term in self.terms.items()}
        if self.attack is not None:
            parts["attack"] = self.attack
        return [(name, part, buffer) for name, part in parts.items() for buffer in sorted(getattr(part, "per_image", ()))]

    def _player(self, name: str) -> Player:
        heads = list(self.heads.values()) if name == "discriminator" else []
        kind, settings, factor = self.plan.optimizers[name]
        player = Player(name, self.networks[name], heads, (kind, settings), factor)
        if not player.parameters:
            raise GancoreError(f"{self.plan.networks[name].part.where} has no parameter to train.")
        return player

    # -- data ----------------------------------------------------------------------------------------------------------

    @cached_property
    def selection(self) -> Selection:
        """Training images uint8, labels, and the relative frequency of each image, after the samplers' selection."""
        return self._select(*self.plan.dataset.load("train"), None, None)

    def _select(self, images: Tensor, labels: Tensor, weights: Tensor | None, of: str | None) -> Selection:
        """Return what the samplers of the data (None) or of a source leave of some images."""
        samplers = {label: sampler for label, sampler in self.samplers.items() if self.plan.samplers[label].keys.of == of}
        chosen = torch.arange(len(labels))
        for label, sampler in samplers.items():
            try:
                chosen = chosen[sampler.select(labels[chosen], self.seed).cpu()]
            except GancoreError as error:
                raise GancoreError(f"{self.plan.samplers[label].part.where}: {error}") from error
            if len(chosen) == 0:
                raise GancoreError(f"{self.plan.samplers[label].part.where} leaves no image of the {len(labels)}; select more.")
        labels = labels[chosen]
        weights = None if weights is None else weights[chosen]
        for sampler in samplers.values():
            given = sampler.weights(labels)
            if given is not None:
                weights = given.cpu() if weights is None else weights * given.cpu()
        if len(chosen) != len(images):
            images = images[chosen]
        return images, labels, weights

    @property
    def class_counts(self) -> list[int]:
        """Training images per class, after samplers."""
        return torch.bincount(self.selection[1], minlength=self.plan.info.classes).tolist()

    def _stream(self, selection: Selection, seed: int) -> ImageStream:
        images, labels, weights = selection
        # A source that leaves nothing of the data out needs no second copy of them on the device.
        shared = seed != self.seed and images is self.selection[0]
        store = self.stream.store if shared else ImageStore(images, labels, self.device, self.recipe.augmentation)
        return ImageStream(store, IndexStream(len(labels), self.recipe.run.batch_size, seed, weights=weights))

    @cached_property
    def stream(self) -> ImageStream:
        """The training images, batch by batch."""
        return self._stream(self.selection, self.seed)

    @cached_property
    def sources(self) -> dict[str, ImageStream]:
        """The further streams of images; one that shares the data begins with what the samplers leave of them."""
        streams = {}
        for label, source in self.plan.sources.items():
            start = self.selection if source.shared else (*source.dataset.load("train"), None)
            streams[label] = self._stream(self._select(*start, label), derive(self.seed, "source", label))
        return streams

    def fresh(self) -> Batch:
        """Draw a new batch: images, labels, latents. Of several processes each gets its share of what one would draw."""
        draw = self.draws
        self.draws += 1
        # A sampler may relate the images of a batch to each other, so it sees all of them, and each process cuts its share
        # out of the result. Where none changes a drawn batch, no process reads the others' images.
        changed = any(type(sampler).draw is not Sampler.draw for sampler in self.samplers.values())
        whole = self.recipe.run.batch_size
        part = slice(None) if changed else distributed.own_slice(whole)
        with span("data"):
            drawn = Drawn(*self.stream.batch(draw, noise_for(self.device, self.seed, "augmentation", draw, 0), part))
        if self.plan.sources:
            with span("sources"):
                drawn.sources = {
                    label: stream.batch(draw, noise_for(self.device, self.seed, "augmentation", label, draw, 0), part)
                    for label, stream in self.sources.items()
                }
        if changed:
            for label, sampler in self.samplers.items():
                with span("samplers", label, "draw"):
                    drawn = sampler.draw(drawn, noise_for(self.device, self.seed, "sampler", label, draw, 0))
            if len(drawn.real) != whole and distributed.world_size() > 1:
                self._check_changed(len(drawn.real))
            whole = len(drawn.real)
            drawn = own_rows(drawn)
        return self.renew(Batch(**attrs.asdict(drawn, recurse=False), whole=whole))

    def _check_changed(self, number: int) -> None:
        """Refuse a number of images, as samplers leave it, that several processes can't handle as one does."""
        distributed.rows_each(number, f"{self.recipe.name}: the number of images that the samplers make of a batch")
        for name, _, buffer in self._rows():
            raise GancoreError(
                f"{self.recipe.name}: {name} keeps a row of {buffer} for each of {self.recipe.run.batch_size} images, but the "
                f"samplers leave {number} of them; train it in one process."
            )

    def renew(self, batch: Batch) -> Batch:
        """Return the batch with the same images and new latents."""
        if self.prior is None:
            return attrs.evolve(batch, generated={})
        own = distributed.own_rows
        with span("latents"):
            drawn = self.latent(batch.whole, "latent", self.latents, 0)
        self.latents += 1
        codes = {name: own(code) for name, code in drawn.codes.items()}
        return attrs.evolve(batch, z=own(drawn.z), fake_label=own(drawn.label), codes=codes, generated={})

    def latent(self, number: int, *purpose: str | int) -> Latents:
        """Return latents for so many images, for a purpose.

        Raises:
            GancoreError: There is no generator that they could be for, or what draws them gives other than it should.
        """
        if self.prior is None or self.plan.latent is None:
            raise GancoreError(f"{self.recipe.name} has no generator to draw latents for.")
        with torch.no_grad():
            drawn = self.prior.draw(number, noise_for(self.device, self.seed, *purpose))
        rows = {"z": len(drawn.z), "label": len(drawn.label), **{name: len(code) for name, code in drawn.codes.items()}}
        if drawn.codes.keys() != set(self.prior.codes) or set(rows.values()) != {number}:
            shown = ", ".join(f"{name} of {length} rows" for name, length in rows.items())
            raise GancoreError(
                f"{self.plan.latent.part.where} draws {shown} for {number} images; it must draw z, label and the codes "
                f"{listed(self.prior.codes)}, each of as many rows."
            )
        return drawn

    # -- stepping ------------------------------------------------------------------------------------------------------

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which networks run: bfloat16 where chosen."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def phase(self, player: str, batch: Batch) -> None:
        """Take a player's turn on a batch. A player none of whose terms is active in this iteration does nothing."""
        active = frozenset(label for label in self.plan.active(int(self.iteration)) if player in self.plan.terms[label].methods)
        if active:
            if (player, active) not in self._phases:
                self._phases[player, active] = Phase(self, plan_phase(self.plan, player, active))
            with span("phase", player):
                self._phases[player, active](batch)
        self.turn += 1

    def step(self) -> None:
        """Run one iteration of the loop."""
        self.set_schedules()
        self.take_turns()
        self.iteration += 1

    def set_schedules(self) -> None:
        """Set what the host computes from the iteration's number; nothing inside an iteration's turns does so."""
        self.iteration_tensor.fill_(self.iteration)
        for player in self.players.values():
            player.set_schedules(self.iteration)

    def take_turns(self) -> None:
        """Take the turns of an iteration: all of `step` that a recording can hold."""
        self.turn = 0
        self.plan.loop.iteration(self)

    # -- state ---------------------------------------------------------------------------------------------------------

    def modules(self) -> dict[str, nn.Module]:
        """Every module with state that training changes, by its name in a checkpoint."""
        named: dict[str, nn.Module] = {f"network.{name}": self.networks[name] for name in self.plan.players}
        named |= {f"head.{label}": head for label, head in self.heads.items()}
        named |= {f"loss.{label}": term for label, term in self.terms.items()}
        named |= {f"sampler.{label}": sampler for label, sampler in self.samplers.items()}
        if self.prior is not None:
            named["latent"] = self.prior
        if self.attack is not None:
            named["attack"] = self.attack
        if self.average is not None:
            named["ema.generator"] = self.average.network
        return named

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that a checkpoint holds: what one process would have. Of several, all must call it together."""
        state = {
            f"{name}/{key}": value for name, module in self.modules().items() for key, value in module.state_dict().items()
        }
        state |= {
            f"optimizer.{name}/{key}": value for name, player in self.players.items() for key, value in player.state().items()
        }
        if distributed.world_size() > 1:
            for name, module, buffer in self._rows():
                state[f"{name}/{buffer}"] = torch.cat(distributed.gather_list(getattr(module, buffer)))
        return state

    def counters(self) -> dict[str, int]:
        """Every number that a checkpoint holds."""
        return {"iteration": self.iteration, "draws": self.draws, "latents": self.latents}

    def restore(self, tensors: Mapping[str, Tensor], counters: Mapping[str, int]) -> None:
        """Go back to what `tensors` and `counters` gave.

        Raises:
            GancoreError: Tensors are missing, unknown, or of another shape.
        """
        groups: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            owner, key = name.split("/", 1)
            groups.setdefault(owner, {})[key] = value
        modules = self.modules()
        optimizers = {f"optimizer.{name}" for name in self.players}
        needed = {owner for owner, module in modules.items() if module.state_dict()}
        strange = (needed - set(groups)) | (set(groups) - needed - optimizers)
        if strange:
            raise GancoreError(f"the checkpoint does not fit this recipe: it differs in {', '.join(sorted(strange))}.")
        for name, _, buffer in self._rows():
            if buffer in groups.get(name, {}):
                groups[name][buffer] = distributed.own_rows(groups[name][buffer])
        for owner in sorted(needed):
            try:
                modules[owner].load_state_dict(groups[owner])
            except RuntimeError as error:
                detail = " ".join(str(error).split())[:200]
                raise GancoreError(f"the checkpoint does not fit this recipe's {owner}: {detail}.") from error
        for name, player in self.players.items():
            player.load_state(groups.get(f"optimizer.{name}", {}))
        self.iteration = counters["iteration"]
        self.draws = counters["draws"]
        self.latents = counters["latents"]

    def generator(self, weights: str = "ema") -> Any:
        """Return the generator to sample from: its moving average where there is one and it is asked for."""
        if GENERATOR not in self.networks:
            raise GancoreError(f"{self.recipe.name} has no generator to sample from.")
        return self.average.network if weights == "ema" and self.average is not None else self.networks[GENERATOR]
