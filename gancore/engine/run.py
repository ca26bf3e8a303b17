"""A run: its components, the batches that it draws, its place in the training, and the turns of its players."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from gancore.contract import Drawn, Latents, Rows, Translator
from gancore.engine.batches import to_unit
from gancore.engine.conditional import check_labels
from gancore.engine.devices import choose_precision
from gancore.engine.forwards import evaluating, finite, generate
from gancore.engine.parts import Parts
from gancore.engine.phase import Phase
from gancore.engine.values import Batch
from gancore.errors import GancoreError, first_line, listed, shown
from gancore.parallel import collectives, distributed, noise_for, seed_default
from gancore.plan import GENERATOR, Plan, plan_phase, planned
from gancore.recipe import GROUPS, Entry


class Run:
    """Everything alive in one training run; it fulfills the protocol `gancore.Run`.

    Args:
        plan: What to build.
        device: Where it computes.
        weights: Weights files of what was trained first, by its place, e.g. ``networks.classifier``.

    Attributes:
        parts: Its components; the commonest of them are attributes of the run too.
        precision: ``float32`` or ``bfloat16``.
        precision_why: Who chose it.
        turn: Number of the current phase in its iteration.
        draws: Batches drawn so far.
        latents: Draws of latents so far.
        active: Labels of the loss terms that take part in the current iteration.
        rank: This process's number; 0 where there is one alone.

    Raises:
        GancoreError: Something in the plan can't be built, or the processes can't share its batch evenly.
    """

    def __init__(self, plan: Plan, device: torch.device, weights: Mapping[str, Path] | None = None) -> None:
        self.plan = plan
        self.recipe = plan.recipe
        self.device, self.seed = device, plan.recipe.run.seed
        self.rank, self.processes = distributed.rank(), distributed.world_size()
        distributed.rows_each(plan.recipe.run.batch_size, f"{plan.recipe.name}: run.batch_size")
        self.precision, self.precision_why = choose_precision(plan.recipe.run.precision, device)
        self.iteration = self.turn = self.draws = self.latents = 0
        self.losses: dict[str, Tensor] = {}
        self.folder: Path | None = None
        self.iteration_tensor = torch.zeros((), dtype=torch.int64, device=device)
        self.active = plan.active(0)
        self._labels_seen = False
        self._phases: dict[tuple[str, frozenset[str]], Phase | None] = {}
        self.parts = Parts(plan, device, weights or {})
        self.batches, self.players, self.average = self.parts.batches, self.parts.players, self.parts.averages.get("ema")
        self.networks, self.heads, self.terms = self.parts.networks, self.parts.heads, self.parts.terms
        self.modules = self.parts.modules
        self.samplers, self.attack, self.prior = self.parts.samplers, self.parts.attack, self.parts.prior
        self._scheduled: list[Any] = [player for player in self.players.values() if player.scheduled]
        self._scheduled += [average for average in self.parts.averages.values() if average.schedule]
        check_labels(self.parts)
        self.parts.loop.prepare(self)
        self.parts.loop.to(device)
        # Every process has drawn the same weights; where machines differ, their arithmetic may not agree to the last bit.
        collectives.broadcast(value for module in self.modules().values() for value in module.state_dict().values())
        for _, module, buffer in self.parts.rows():
            setattr(module, buffer, distributed.own_rows(getattr(module, buffer)).clone())

    # -- what update rules call ----------------------------------------------------------------------------------------

    def fresh(self) -> Batch:
        """Draw a new batch: images, labels, latents. Of several processes each gets its rows of what one would draw."""
        drawn, whole = self.batches.draw(self.draws)
        self.draws += 1
        if self.processes > 1 and whole != self.recipe.run.batch_size:
            self._check_number(whole)
        return self._with_latents(drawn, whole, whole)

    def renew(self, batch: Batch, number: int | None = None) -> Batch:
        """Return the batch with the same images and new latents; see `gancore.Run`."""
        if number not in (None, batch.whole) and self.prior is not None:
            self._check_generated(batch, number)
        return self._with_latents(batch, batch.whole, number or batch.whole)

    def _with_latents(self, drawn: Drawn, whole: int, number: int) -> Batch:
        """Return a drawn batch with so many new latents, where there is a generator."""
        images = drawn.real, drawn.real_label, drawn.sides, drawn.joined, drawn.blended
        if self.prior is None:
            return Batch(*images, whole=whole)
        new = self.latent(number, "latent", self.latents, 0)
        self.latents += 1
        new = new if self.processes == 1 else distributed.own_rows(new)
        return Batch(*images, new.z, new.label, new.codes, whole)

    def phase(self, player: str, batch: Batch, pieces: int = 1) -> None:
        """Take a player's turn on a batch; see `gancore.Run`."""
        phase = self._phase(player)
        try:
            if phase is not None:
                phase(batch, pieces)
        except (KeyError, RuntimeError, ValueError) as error:
            problem = self._problem(error, player, batch)
            if problem is None:
                raise
            raise GancoreError(f"{self.recipe.name}: {problem}") from error
        self.turn += 1

    def latent(self, number: int, *purpose: str | int) -> Latents:
        """Return latents for so many images, for a purpose.

        Raises:
            GancoreError: There is no generator that they could be for, or what draws them gives other than it should.
        """
        if self.prior is None or self.plan.latent is None:
            raise GancoreError(f"{self.recipe.name} has no generator to draw latents for.")
        noise = noise_for(self.device, self.seed, *purpose)
        with torch.no_grad():
            drawn = self.prior.draw(number, noise)
            if self.prior.any_label:
                drawn = attrs.evolve(drawn, label=self.batches.labels.draw(self.prior, drawn.label, noise, number))
        latent, occurring = self.plan.latent, self.batches.labels.values
        shapes = {name: rows.shape[:1] for name, rows in {"z": drawn.z, **drawn.codes}.items()} | {"label": drawn.label.shape}
        due = {**dict.fromkeys(("z", *self.prior.codes), (number,)), "label": (number, *occurring.shape[1:])}
        if shapes != due or drawn.label.dtype != torch.int64:
            got, wanted = (", ".join(f"{name} {tuple(shape)}" for name, shape in each.items()) for each in (shapes, due))
            raise GancoreError(
                f"{latent.where} draws {got} {drawn.label.dtype} for {number} images; it must draw {wanted} torch.int64."
            )
        if self.plan.info.classes and not (self.prior.any_label or self._labels_seen):
            self._labels_seen = True  # To look at labels the host waits for the device, so it does that once.
            for never in {*self.latent(1000, "labels").label.tolist()} - {*occurring.tolist()}:
                raise GancoreError(
                    f"{latent.where} asks for images of class {never}, of which the data have none; its author must draw "
                    "classes that occur (`class_counts` says which), or leave labels to gancore."
                )
        return drawn

    def generator(self, weights: str = "ema") -> Any:
        """Return the generator to sample from: a moving average where there is one and it is asked for."""
        if GENERATOR not in self.networks:
            raise GancoreError(f"{self.recipe.name} has no generator to sample from.")
        averages = {name: average.network for name, average in self.parts.averages.items()}
        known = {**dict.fromkeys(("ema", "live"), self.networks[GENERATOR]), **averages}
        if weights not in known:
            raise GancoreError(f"{self.recipe.name} has no weights {shown(weights)} of the generator (known: {listed(known)}).")
        return known[weights]

    def generate(
        self, latents: Latents, weights: str = "ema", *, images: Rows | None = None, start: int = 0, total: int | None = None
    ) -> Tensor:
        """Return the images that the generator makes of latents; see `gancore.Run`."""
        network, sources = self.generator(weights), None
        if isinstance(network, Translator):
            images = self.batches.selection[0] if images is None else images
            number = len(latents.z)
            places = torch.arange(start, start + number) * len(images) // (total or number)
            sources = to_unit(images[places].to(self.device))
        with evaluating(network), self.autocast():
            generated = generate(network, latents.z, latents.label, sources).float()
        finite(f"{self.recipe.name}: what the generator makes after {self.iteration} iterations", generated)
        return generated

    def build(self, kind: str, use: str, settings: Mapping[str, Any] | None = None, *, seed: int = 0) -> Any:
        """Return a component that is none of the recipe's; see `gancore.Run`."""
        where = f"{self.recipe.name}: a {kind} beside the recipe"
        declared = self.plan.registry.component(kind, use, where=where)
        group = next((group for group, of in GROUPS.items() if of == kind), kind)
        entry = Entry(group, use, declared, dict(settings or {}), None, f"{where} ({declared.full_name})")
        return self.parts.make(f"beside/{kind}/{use}/{seed}", planned(entry, self.plan.registry))

    # -- stepping ------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Run one iteration of the loop."""
        if self.iteration == 0:
            self.parts.initialize(self)
        self.set_schedules()
        self.take_turns()
        self.iteration += 1

    def set_schedules(self) -> None:
        """Set what the host computes from the iteration's number; nothing inside an iteration's turns does so."""
        # Outside of a turn too, what draws from a default generator draws the same after a resume.
        seed_default(self.device, self.seed, "iteration", self.iteration)
        self.iteration_tensor.fill_(self.iteration)
        if not self.plan.always:
            self.active = self.plan.active(self.iteration)
        for each in self._scheduled:
            each.set_schedules(self.iteration)
        for label, factor in self.parts.weight_factors.items():
            self.parts.weights[label].fill_(self.plan.terms[label].keys.weight * factor(self.iteration))

    def take_turns(self) -> None:
        """Take the turns of an iteration: all of `step` that a recording can hold."""
        self.turn = 0
        self.parts.loop.iteration(self)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which networks run: bfloat16 where chosen."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _phase(self, player: str) -> Phase | None:
        """Return what a player's turn computes in this iteration, or None where none of its terms is active."""
        key = player, self.active
        if key not in self._phases:
            trains = any(player in self.plan.terms[label].methods for label in self.active)
            self._phases[key] = Phase(self, plan_phase(self.plan, player, self.active)) if trains else None
        return self._phases[key]

    def _problem(self, error: Exception, player: str, batch: Batch) -> str | None:
        """Return what is wrong with a batch where torch could not take a player's turn on it, or None where nothing is."""
        if "more than 1 value per channel" in str(error):
            return (
                "batch norm needs more than one value of each channel, and of a batch of run.batch_size = "
                f"{self.recipe.run.batch_size} a network has one; raise it."
            )
        if error.args and error.args[0] in self.plan.loop.cls.adds:
            return f"the loop gives the {player} a batch without the side {error.args[0]!r}, which it declares that it adds."
        if batch.z is None or len(batch.z) == len(batch.real) or "must match" not in str(error):
            return None
        return (
            f"the loop asks for {len(batch.z)} generated images beside {len(batch.real)} real ones, and something in the turn "
            f"of the {player} pairs them ({first_line(error)[:100]}); ask for as many, or take it out."
        )

    def _check_generated(self, batch: Batch, number: int) -> None:
        """Refuse another number of generated images than of real ones where the two belong together."""
        distributed.rows_each(number, f"{self.recipe.name}: the number of images that the loop has generated")
        translating = any(isinstance(self.networks[label], Translator) for label in self.plan.sides.values())
        if number < 1 or translating or batch.joined or batch.blended:
            raise GancoreError(
                f"{self.recipe.name}: the loop asks for {number} generated images beside {batch.whole} real ones; it must ask "
                "for at least one, and for as many where they are made of these, or where a sampler joins or blends images."
            )

    def _check_number(self, whole: int) -> None:
        """Refuse a number of images, as samplers leave it, that several processes can't handle as one does."""
        distributed.rows_each(whole, f"{self.recipe.name}: the number of images that the samplers make of a batch")
        for name, _, buffer in self.parts.rows():
            raise GancoreError(
                f"{self.recipe.name}: {name} keeps a row of {buffer} for each of {self.recipe.run.batch_size} images, but the "
                f"samplers leave {whole} of them; train it in one process."
            )

    def counters(self) -> dict[str, int]:
        """The run's own numbers in a checkpoint."""
        return {"iteration": self.iteration, "draws": self.draws, "latents": self.latents}
