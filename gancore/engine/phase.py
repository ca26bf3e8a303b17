"""One phase of one player: images, attack, views, forwards, losses, one backward, one step, and what follows it."""

from __future__ import annotations

import contextlib
import functools
import operator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from gancore.contract import Run, Sampler, Translator
from gancore.engine.attacking import objective
from gancore.engine.forwards import as_images, check_sizes, recorded
from gancore.engine.parts import Parts
from gancore.engine.pieces import as_before, cut
from gancore.engine.values import Batch, Values
from gancore.errors import GancoreError, shown
from gancore.parallel import SharedNoise, noise_for, seed_default
from gancore.plan import DISCRIMINATOR, GENERATOR, Forward, PhasePlan, parameters_of


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
        self.run, self.plan, self.parts = run, plan, run.parts
        self.player = self.parts.players[plan.player]
        # Which methods a term has is the author's choice, so its type says nothing.
        self.terms: dict[str, Any] = {label: self.parts.terms[label] for label in plan.terms}
        self.needs = {label: self.parts.plan.terms[label].methods for label in plan.terms}
        # What every turn of this plan would come to again, whatever its batch.
        self.viewing = {label: s for label, s in self.parts.samplers.items() if type(s).view is not Sampler.view}
        self.stands_on, self.sides = self.parts.plan.stands_on, self.parts.plan.sides
        self.projecting = [term for term in self.terms.values() if getattr(term, "project", None) is not None]
        self.observing = [label for label in plan.terms if "observe" in self.needs[label]]
        self.averages = self.parts.averages.values() if plan.player == GENERATOR else ()
        self.known = {"iteration": run.iteration_tensor, "player": plan.player, "parameters": self.player.weights}
        self.piece = 0

    def __call__(self, batch: Batch, pieces: int = 1) -> None:
        """Take the player's turn on a batch, in so many pieces whose gradients add up to those of the whole."""
        run, player = self.run, self.player
        # 1. Forget the gradients.
        player.zero_grad()
        first, *others = [batch] if pieces == 1 else cut(self.parts, self.plan, batch, pieces, self.generate)
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
                    self.discriminate(values, forward)
                if self.plan.networks:
                    self.run_networks(values)
        # 7. Add the weighted losses.
        losses = {label: self.loss(label, values) for label in self.terms}
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
            images[side], labels[side] = self.generate(side, batch, grad=grad), batch.fake_label
            if side in joined:
                number = len(images[side]) - len(joined[side][0])
                images[side] = images[side][:number]
                labels[side] = torch.cat([labels[side][:number], joined[side][1]])
                latents = {name: rows[:number] for name, rows in latents.items()} if side == "fake" else latents
        fixed = {"real_label": batch.real_label, "fake_label": labels.get("fake", batch.fake_label), **latents, **self.known}
        for side in self.plan.image_leaves:
            images[side] = images[side].detach().requires_grad_()
        return Values(fixed, images, labels, {side: pair[0] for side, pair in joined.items()}, batch.blended)

    def generate(self, side: str, batch: Batch, *, grad: bool) -> Tensor:
        """Return the generated images of a side."""
        # Images without a graph are made once for a batch, however often it is replayed.
        if not grad and side in batch.generated:
            return batch.generated[side]
        network = self.parts.networks[self.sides[side]]
        sources = {"images": batch.real} if isinstance(network, Translator) else {}
        with torch.set_grad_enabled(grad):
            images: Tensor = network(batch.z, batch.fake_label, **sources).float()
        if not grad:
            batch.generated[side] = images
        return images

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
                    images = attack.craft(self.seen(values, side), objective(self, values, side), self.noise(*purpose))
                    values.perturbed[side] = images.detach()
        finally:
            self.player.train()
        return None

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
        if side not in values.blended:
            return self._through_samplers(images, side) if self.viewing or self.stands_on else images
        partner, share = values.blended[side]
        view, other = self._through_samplers(images, side), self._through_samplers(partner, "partner")
        share = share.view(-1, *(1,) * (view.ndim - 1))
        return share * view + (1 - share) * other

    def _through_samplers(self, images: Tensor, side: str) -> Tensor:
        for label, sampler in self.viewing.items():
            images = sampler.view(images, self.noise("view", label, side))
        if self.stands_on is None:
            return images
        with torch.set_grad_enabled(images.requires_grad or self.plan.player == self.stands_on):
            return as_images(self.parts.networks[self.stands_on].embed(images))

    def seen(self, values: Values, side: str) -> Tensor:
        """Return the images of a side with those that are joined to it, perturbed where an attack has been on them."""
        if side in values.perturbed:
            return values.perturbed[side]
        images = values.images[side]
        return torch.cat([images, values.joined[side]]) if side in values.joined else images

    def discriminate(self, values: Values, forward: Forward) -> None:
        """Send the views of some sides through the discriminator as one batch, and split what comes out."""
        parts, sides = self.parts, forward.sides
        discriminator = parts.networks[DISCRIMINATOR]
        views, labels = [values.view[side] for side in sides], [values.label[side] for side in sides]
        sizes = [len(view) for view in views]
        try:
            x, label = (views[0], labels[0]) if len(sides) == 1 else (torch.cat(views), torch.cat(labels))
        except RuntimeError:
            check_sizes(dict(zip(sides, views, strict=True)), parts.plan.recipe.name)
            raise
        hidden: tuple[list[Tensor], list[Tensor]] = [], []
        with torch.set_grad_enabled(forward.grad):
            with recorded(discriminator, *hidden) if forward.activations else contextlib.nullcontext():
                features = discriminator(x, label) if parts.sees_labels else discriminator(x)
            pieces = dict(zip(sides, features.split(sizes), strict=True))
            for name, wanted in forward.heads.items():
                head = parts.heads[name]
                # What looks at its batch sees one side at a time, as it does in a turn that needs no other.
                if wanted == sides and not head.batch_statistics:
                    outputs = head(features, label).float().split(sizes)
                else:
                    outputs = tuple(head(pieces[side], values.label[side]).float() for side in wanted)
                values.head.update({(name, side): output for side, output in zip(wanted, outputs, strict=True)})
        values.features.update({side: piece.float() for side, piece in pieces.items()})
        for number, side in enumerate(sides if forward.activations else ()):
            # A layer that sees the images of a group one by one has several rows a sample.
            rows = [[x.split([size * len(x) // len(features) for size in sizes])[number] for x in layers] for layers in hidden]
            values.preactivations[side], values.activations[side] = rows

    def run_networks(self, values: Values) -> None:
        """Send images through the networks that are no discriminator, as far as terms ask for what comes out."""
        for forward in self.plan.networks:
            network = self.parts.networks[forward.network]
            # An attack is on the player alone; what stands beside it sees the images as they are.
            attacked = forward.network == self.plan.player and forward.side in values.perturbed
            images = (values.perturbed if attacked else values.images)[forward.side]
            at = forward.network, forward.side
            with torch.set_grad_enabled(forward.grad):
                if not forward.embedding:
                    values.network[at] = network(images).float()
                    continue
                features = network.embed(images)
                values.embedding[at] = features.float()
                values.network[at] = network.classify(features).float()

    def noise(self, *purpose: str) -> torch.Generator:
        """Return a random stream for a component, in this iteration and turn."""
        now = self.run.iteration, self.run.turn, self.piece
        return noise_for(self.run.device, self.run.seed, *purpose, *now, kind=SharedNoise)

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

    def loss(self, label: str, values: Values) -> Any:
        """Return a term's loss; what comes with it is for the term's own `observe`."""
        player = self.plan.player
        answer: Any = getattr(self.terms[label], player)(**self.arguments(label, player, values))
        loss, kept = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, {})
        if not (isinstance(loss, Tensor) and loss.numel() == 1 and isinstance(kept, dict)):
            what = f"a tensor of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else shown(answer)
            raise GancoreError(
                f"{self.parts.plan.terms[label].where} gives {what} as the loss of the {player}; its author must return a "
                "scalar tensor, or a pair of it and a dict of tensors that its `observe` asks for."
            )
        values.kept.update({(label, name): value.detach() for name, value in kept.items()})
        return loss

    def after_step(self, values: Values, leaf: Tensor | None) -> None:
        """Let terms project and observe, the attack learn from the gradient that reached its images, the average go on."""
        run, attack = self.run, self.parts.attack
        for term in self.projecting:
            term.project(self.plan.player, self.player.weights)
        for label in self.observing:
            self.terms[label].observe(**self.arguments(label, "observe", values))
        if leaf is not None:
            assert leaf.grad is not None and attack is not None  # noqa: PT018
            # Each process's loss is a mean over its own images; an attack learns from that over all.
            attack.update(leaf.grad if run.processes == 1 else leaf.grad / run.processes, values.images["real"])
        for average in self.averages:
            average.update(run.iteration)
