"""One phase of one player: images, attack, views, forwards, losses, one backward, one step, and what follows it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gancore.contract import Run, Sampler
from gancore.engine.forwards import as_images, discriminate, generate, run_networks
from gancore.engine.parts import Parts
from gancore.engine.pieces import as_before, check_pieces
from gancore.engine.values import Batch, Values
from gancore.errors import GancoreError
from gancore.parallel import SharedNoise, distributed, noise_for, seed_default
from gancore.plan import DISCRIMINATOR, GENERATOR, Forward, PhasePlan, attacked_method, parameters_of


class Turn(Run, Protocol):
    """A run, as a phase sees it: with its components, and where in the training it stands."""

    parts: Parts
    rank: int
    processes: int
    turn: int
    iteration_tensor: Tensor

    def autocast(self) -> Any:
        """Return the context in which networks run."""


class Phase:
    """Executes a `PhasePlan` on the components of a run, in nine steps."""

    def __init__(self, run: Turn, plan: PhasePlan) -> None:
        self.run = run
        self.plan = plan
        self.parts = run.parts
        self.player = self.parts.players[plan.player]
        # Which methods a term has is the author's choice, so its type says nothing.
        self.terms: dict[str, Any] = {label: self.parts.terms[label] for label in plan.terms}
        self.needs = {label: self.parts.plan.terms[label].methods for label in plan.terms}
        self.viewing = {label: s for label, s in self.parts.samplers.items() if type(s).view is not Sampler.view}
        self.stands_on = self.parts.plan.stands_on
        self.sides = self.parts.plan.sides
        self.piece = 0

    def __call__(self, batch: Batch, pieces: int = 1) -> None:
        """Take the player's turn on a batch, in so many pieces whose gradients add up to those of the whole."""
        run, player = self.run, self.player
        # 1. Forget the gradients.
        player.zero_grad()
        first, *others = [batch] if pieces == 1 else self.cut(batch, pieces)
        values, leaf, losses = self.add_gradients(first, 0, pieces)
        if others:
            with as_before(self.parts):
                further = [self.add_gradients(piece, number, pieces)[2] for number, piece in enumerate(others, start=1)]
            losses = {label: sum((each[label] for each in further), loss) / pieces for label, loss in losses.items()}
        # 9. One step of the optimizer; then terms, attack and average take in what has happened.
        player.step()
        with torch.no_grad():
            self.after_step(values, leaf)
        run.losses.update({f"{player.name}/{label}": loss for label, loss in losses.items()})

    def cut(self, batch: Batch, pieces: int) -> list[Batch]:
        """Return a batch in so many pieces.

        Raises:
            GancoreError: What the turn computes on the pieces is not what it computes on the whole.
        """
        check_pieces(self.parts, self.plan, batch, pieces)
        for side, grad in self.plan.generators.items():
            if not grad:
                self._generate(side, batch, grad=False)
        return [distributed.part_of(batch, piece, pieces) for piece in range(pieces)]

    def add_gradients(self, batch: Batch, piece: int, pieces: int) -> tuple[Values, Tensor | None, dict[str, Tensor]]:
        """Add the gradients of one of so many pieces of a batch; return its tensors, the leaf of an attack, and the losses."""
        run, player, self.piece = self.run, self.player, piece
        # Dropout and the like draw from the default generator, which this makes a function of the turn.
        seed_default(run.device, run.seed, "phase", run.iteration, run.turn, run.rank, *([piece] if piece else []))
        with run.autocast():
            # 2. Generate images.
            values = self.make_images(batch)
            # 3. Perturb what the player shall see.
            leaf = self.attack(values) if self.plan.attacked else None
            with parametrize.cached():  # so that each weight, and each power iteration, is computed once in a turn
                # 4. Make of them what the discriminator sees.
                self.make_views(values)
                # 5. Send it through the discriminator, and 6. the images through the other networks.
                for forward in self.plan.forwards:
                    discriminate(self.parts, values, forward)
                if self.plan.networks:
                    run_networks(self.parts, self.plan, values)
        # 7. Add the weighted losses.
        name = player.name
        losses = {label: self.loss(label, getattr(term, name), values) for label, term in self.terms.items()}
        total = functools.reduce(operator.add, (self.parts.weights[label] * loss for label, loss in losses.items()))
        # 8. One backward, for this player's parameters, and for images whose perturbation learns from it.
        total = total if pieces == 1 else total / pieces
        total.backward(inputs=[*player.parameters, *([] if leaf is None else [leaf])])
        return values, leaf, {label: loss.detach() for label, loss in losses.items()}

    def make_images(self, batch: Batch) -> Values:
        """Return the images of every side; the discriminator sees joined ones in the places of as many generated ones."""
        joined = batch.joined if self.plan.player == DISCRIMINATOR else {}
        images = {"real": batch.real, **{side: pair[0] for side, pair in batch.sides.items()}}
        labels = {"real": batch.real_label, **{side: pair[1] for side, pair in batch.sides.items()}}
        latents: dict[str, Any] = {"z": batch.z, **batch.codes}
        for side, grad in self.plan.generators.items():
            assert batch.fake_label is not None
            # The generator is given the same rows in every turn, for its batch norm sees all of them.
            images[side], labels[side] = self._generate(side, batch, grad=grad), batch.fake_label
            if side in joined:
                number = len(images[side]) - len(joined[side][0])
                images[side] = images[side][:number]
                labels[side] = torch.cat([labels[side][:number], joined[side][1]])
                latents = {name: rows[:number] for name, rows in latents.items()} if side == "fake" else latents
        turn = {"iteration": self.run.iteration_tensor, "player": self.plan.player, "parameters": self.player.weights}
        fixed = {"real_label": batch.real_label, "fake_label": labels.get("fake", batch.fake_label), **latents, **turn}
        images |= {side: images[side].detach().requires_grad_() for side in self.plan.image_leaves}
        return Values(fixed, images, labels, {side: pair[0] for side, pair in joined.items()}, batch.blended)

    def _generate(self, side: str, batch: Batch, *, grad: bool) -> Tensor:
        network = self.parts.networks[self.sides[side]]
        # Images without a graph are made once for a batch, however often it is replayed.
        if grad or side not in batch.generated:
            assert batch.z is not None
            with torch.set_grad_enabled(grad):
                images = generate(network, batch.z, batch.fake_label, batch.real).float()
            if grad:
                return images
            batch.generated[side] = images
        return batch.generated[side]

    def attack(self, values: Values) -> Tensor | None:
        """Perturb what the player sees of the attacked sides; return the leaf that a shared gradient is wanted on, if any."""
        attack = self.parts.attack
        assert attack is not None
        if attack.gradient == "shared":
            real = values.images["real"]
            with torch.no_grad():
                leaf = attack.perturb(real)
            # A perturbation of nothing may hand back the batch itself, which must not become a leaf.
            values.perturbed["real"] = (leaf.clone() if leaf is real else leaf.detach()).requires_grad_()
            return values.perturbed["real"]
        self.player.train(False)
        try:
            with parametrize.cached(), torch.enable_grad():
                for side in self.plan.attacked:
                    purpose = ("attack",) if side == "real" else ("attack", side)
                    images = attack.craft(self.seen(values, side), self._objective(values, side), self.noise(*purpose))
                    values.perturbed[side] = images.detach()
        finally:
            self.player.train()
        return None

    def _objective(self, values: Values, side: str) -> Callable[[Tensor], Tensor]:
        """Return what an attack on a side raises: the weighted sum of the terms' ``attacked``, one value per image."""
        method = attacked_method(side)
        terms = [label for label in self.terms if method in self.needs[label]]
        needs = [need for label in terms for need in self.needs[label][method]]
        own = Values(values.batch, values.images, values.label, values.joined, values.blended)
        others = sorted({need.side for need in needs if need.kind in ("head", "features")} - {side})
        heads: dict[str, dict[str, tuple[str, ...]]] = {
            seen: {need.label: (seen,) for need in needs if need.kind == "head" and need.side == seen}
            for seen in (side, *others)
        }
        for other in others:
            own.view[other] = self.view(self.seen(own, other), other, own)
            discriminate(self.parts, own, Forward((other,), grad=False, heads=heads[other], activations=False))

        def objective(x: Tensor) -> Tensor:
            with self.run.autocast():
                if self.plan.player == DISCRIMINATOR:
                    own.view[side] = self.view(x, side, own)
                    discriminate(self.parts, own, Forward((side,), grad=True, heads=heads[side], activations=False))
                else:
                    own.network[self.plan.player, side] = self.parts.networks[self.plan.player](x).float()
            total = torch.zeros(len(x), device=x.device)
            for label in terms:
                raised = getattr(self.terms[label], method)(**self.arguments(label, method, own))
                # A term that sees no joined images has nothing to raise for them.
                total = total + self.parts.weights[label] * F.pad(raised, (0, len(x) - len(raised)))
            return total

        return objective

    def make_views(self, values: Values) -> None:
        """Make what the discriminator sees of every side: what the player sees of its images, or a term's own."""
        for side in self.plan.views:
            if ":" in side:
                label, name = side.split(":")
                method = self.parts.plan.terms[label].cls.extra_views[name]
                view = getattr(self.terms[label], method)(**self.arguments(label, method, values))
                values.label[side] = values.label["real"][: len(view)]
            else:
                view = self.view(self.seen(values, side), side, values)
            if side in self.plan.leaves and not view.requires_grad:
                # The batch's own images, or those a replay will reuse, must not become leaves themselves.
                view = view.detach().requires_grad_()
            values.view[side] = view

    def view(self, images: Tensor, side: str, values: Values) -> Tensor:
        """Return what the discriminator sees of a side's images."""
        view = self._through_samplers(images, side)
        if side not in values.blended:
            return view
        partner, share = values.blended[side]
        share = share.view(-1, *(1,) * (view.ndim - 1))
        return share * view + (1 - share) * self._through_samplers(partner, "partner")

    def seen(self, values: Values, side: str) -> Tensor:
        """Return the images of a side with those that are joined to it, perturbed where an attack has been on them."""
        if side in values.perturbed:
            return values.perturbed[side]
        images = values.images[side]
        return torch.cat([images, values.joined[side]]) if side in values.joined else images

    def _through_samplers(self, images: Tensor, side: str) -> Tensor:
        for label, sampler in self.viewing.items():
            images = sampler.view(images, self.noise("view", label, side))
        if self.stands_on is None:
            return images
        with torch.set_grad_enabled(images.requires_grad or self.plan.player == self.stands_on):
            return as_images(self.parts.networks[self.stands_on].embed(images))

    def noise(self, *purpose: str) -> torch.Generator:
        """Return a random stream for a component, in this iteration and turn."""
        run = self.run
        return noise_for(run.device, run.seed, *purpose, run.iteration, run.turn, self.piece, kind=SharedNoise)

    def arguments(self, label: str, method: str, values: Values) -> dict[str, Any]:
        """Return what a method of a term asks for."""
        arguments: dict[str, Any] = {}
        for need in self.needs[label][method]:
            if need.kind == "noise":
                arguments[need.name] = self.noise("loss", label, method)
            elif need.kind == "kept" and need.key not in values.kept:
                if parameters_of(getattr(self.terms[label], method))[need.name]:
                    raise GancoreError(
                        f"{self.parts.plan.terms[label].where} asks for {need.name!r} in its {method}, which neither the "
                        f"recipe nor its loss of the {self.plan.player} gives; its author must return it, or give a default."
                    )
            else:
                value = getattr(values, need.kind)[need.key]
                arguments[need.name] = values.unjoined(need, value) if label in self.plan.apart else value
        return arguments

    def loss(self, label: str, method: Callable[..., Any], values: Values) -> Tensor:
        """Return a term's loss; what comes with it is for the term's own `observe`."""
        outcome = method(**self.arguments(label, self.plan.player, values))
        loss: Tensor
        loss, kept = outcome if isinstance(outcome, tuple) else (outcome, {})
        values.kept.update({(label, name): value.detach() for name, value in kept.items()})
        return loss

    def after_step(self, values: Values, leaf: Tensor | None) -> None:
        """Let terms project and observe, the attack learn from the gradient that reached its images, the average go on."""
        run, attack = self.run, self.parts.attack
        for label, term in self.terms.items():
            project = getattr(term, "project", None)
            if project is not None:
                project(self.plan.player, self.player.weights)
            if "observe" in self.needs[label]:
                term.observe(**self.arguments(label, "observe", values))
        if leaf is not None:
            assert leaf.grad is not None
            assert attack is not None
            # Each process's loss is a mean over its own images; an attack learns from that over all.
            attack.update(leaf.grad if run.processes == 1 else leaf.grad / run.processes, values.images["real"])
        for average in self.parts.averages.values() if self.plan.player == GENERATOR else ():
            average.update(run.iteration)
