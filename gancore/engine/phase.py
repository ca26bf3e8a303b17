"""One phase of one player, executed as a straight line: images, views, forwards, losses, one backward, one step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from gancore.engine.forwards import as_images, generate, recorded
from gancore.engine.spans import span
from gancore.engine.values import Batch, Values
from gancore.errors import GancoreError
from gancore.parallel import derive, distributed, seed_default, shared_noise
from gancore.plan import DISCRIMINATOR, PhasePlan, attacked_method

if TYPE_CHECKING:
    from gancore.engine.run import Run


class Phase:
    """Executes a `PhasePlan`.

    Args:
        run: The run whose parts it uses.
        plan: What to compute.
    """

    def __init__(self, run: Run, plan: PhasePlan) -> None:
        self.run = run
        self.plan = plan
        self.player = run.players[plan.player]
        self.attack_label = "" if run.plan.attack is None else run.plan.attack.part.label
        # Which methods a term has is the author's choice, so its type says nothing.
        self.terms: dict[str, Any] = {label: run.terms[label] for label in plan.terms}

    def __call__(self, batch: Batch) -> None:
        """Take the player's turn on a batch."""
        run, plan, player = self.run, self.plan, self.player
        # Dropout and the like draw from the global generator; seeding it here makes them a function of the turn.
        seed_default(run.device, derive(run.seed, "phase", run.iteration, run.turn, run.rank))
        player.zero_grad()
        with run.autocast():
            parts = self._make_images(batch)
            seen, leaf = self._attack(parts[0])
            attacked = [seen, *(self._attack(values)[0] if leaf is None else seen for values in parts[1:])]
            with _spectral_norm_once():
                for values, sees in zip(parts, attacked, strict=True):
                    with span("views"):
                        self._make_views(values, sees)
                    for forward in plan.forwards:
                        self._discriminate(values, forward.sides, forward.heads, forward.grad, forward.activations)
                    self._forward_networks(values, sees)
        total: Tensor | None = None
        losses: dict[str, Tensor] = {}
        for label, term in self.terms.items():
            for values in parts:
                with span("losses", label, "loss"):
                    loss = getattr(term, plan.player)(**self._arguments(label, plan.player, values))
                loss = loss if len(parts) == 1 else values.share * loss
                losses[label] = losses[label] + loss if label in losses else loss
            weighted = run.weights[label] * losses[label]
            total = weighted if total is None else total + weighted
        assert total is not None
        with span("backward"):
            total.backward(inputs=[*player.parameters, *([leaf] if leaf is not None else [])])
        with span("optimizers", plan.player, "step"):
            player.step()
        with torch.no_grad():
            self._after_step(parts[0], leaf)
        for label, loss in losses.items():
            run.losses[f"{plan.player}/{label}"] = loss.detach()

    def noise(self, *purpose: str) -> torch.Generator:
        """Return a generator for a part, in this iteration and turn."""
        run = self.run
        return shared_noise(run.device, run.seed, *purpose, run.iteration, run.turn, 0)

    def _make_images(self, batch: Batch) -> list[Values]:
        """Return the images of the turn, in two parts where negatives have a share of the loss of their own."""
        if batch.negatives is None or batch.negatives_share is None or self.plan.player != DISCRIMINATOR:
            return [self._part(batch, batch.negatives if self.plan.player == DISCRIMINATOR else None)]
        generated = self._part(batch, None)
        generated.share, generated.joined = 1 - batch.negatives_share, False
        generated.batch["negatives"] = batch.negatives
        avoided = Values(
            share=batch.negatives_share,
            joined=False,
            blend=generated.blend,
            batch={**generated.batch, "fake_label": batch.negatives_label},
            images={**generated.images, "fake": batch.negatives},
            label=dict(generated.label),
        )
        if batch.negatives_label is not None:
            avoided.label["fake"] = batch.negatives_label
        return [generated, avoided]

    def _part(self, batch: Batch, negatives: Tensor | None) -> Values:
        run, plan = self.run, self.plan
        values = Values(blend=None if batch.partner is None or batch.share is None else (batch.partner, batch.share))
        number = len(batch.real) - (0 if negatives is None else len(negatives))
        z = None if batch.z is None else batch.z[:number]
        label = None if batch.fake_label is None else batch.fake_label[:number]
        values.images["real"] = batch.real
        for side, grad in plan.generators.items():
            assert z is not None
            network = run.networks[run.plan.sides[side]]
            if grad:
                with span("networks", run.plan.sides[side], "forward"):
                    values.images[side] = generate(network, z, label, batch.real[:number]).float()
                continue
            if (side, number) not in batch.generated:
                with torch.no_grad(), span("networks", run.plan.sides[side], "forward"):
                    batch.generated[side, number] = generate(network, z, label, batch.real[:number]).float()
            values.images[side] = batch.generated[side, number]
        if negatives is not None and label is not None:
            assert batch.negatives_label is not None
            label = torch.cat([label, batch.negatives_label])
        codes = {name: code[:number] for name, code in batch.codes.items()}
        values.batch = {"z": z, "fake_label": label, "real_label": batch.real_label, "negatives": negatives, **codes}
        values.label = {"real": batch.real_label, **({} if label is None else dict.fromkeys(plan.generators, label))}
        for source, (images, labels) in batch.sources.items():
            values.images[source], values.label[source] = images, labels
        return values

    def _attack(self, values: Values) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return what the player sees of the attacked sides, and the leaf that a shared gradient is wanted on."""
        attack = self.run.attack
        if not self.plan.attacked or attack is None:
            return {}, None
        if attack.gradient == "shared":
            real = values.images["real"]
            with torch.no_grad(), span("attacks", self.attack_label, "perturb"):
                leaf = attack.perturb(real)
            # A perturbation of nothing may hand back the batch itself, which must not become a leaf.
            leaf = (leaf.clone() if leaf is real else leaf.detach()).requires_grad_()
            return {"real": leaf}, leaf
        seen = {}
        self.player.train(False)
        try:
            with parametrize.cached(), torch.enable_grad(), span("attacks", self.attack_label, "craft"):
                for side in self.plan.attacked:
                    purpose = ("attack",) if side == "real" else ("attack", side)
                    images, objective = self._with_negatives(values, side), self._attack_objective(values, side)
                    seen[side] = attack.craft(images, objective, self.noise(*purpose)).detach()
        finally:
            self.player.train()
        return seen, None

    def _attack_objective(self, values: Values, side: str) -> Callable[[Tensor], Tensor]:
        """Return what an attack on a side raises: the weighted sum of the terms' ``attacked``, one value per image."""
        method = attacked_method(side)
        terms = [label for label in self.terms if method in self.run.plan.terms[label].methods]
        needs = [need for label in terms for need in self.run.plan.terms[label].methods[method]]
        fixed = Values(batch=values.batch, images=values.images, label=values.label, blend=values.blend)
        others = tuple(sorted({need.side for need in needs if need.kind in ("head", "features")} - {side}))
        heads: dict[str, dict[str, tuple[str, ...]]] = {
            seen: {need.label: (seen,) for need in needs if need.kind == "head" and need.side == seen}
            for seen in (side, *others)
        }
        for other in others:
            fixed.view[other] = self._view(self._with_negatives(values, other), other, values.blend)
            self._discriminate(fixed, (other,), heads[other], grad=False, activations=False)

        def objective(x: Tensor) -> Tensor:
            with self.run.autocast():
                if self.plan.player == DISCRIMINATOR:
                    fixed.view[side] = self._view(x, side, values.blend)
                    self._discriminate(fixed, (side,), heads[side], grad=True, activations=False)
                else:
                    with span("networks", self.plan.player, "forward"):
                        fixed.network[self.plan.player, side] = self.run.networks[self.plan.player](x).float()
            total = torch.zeros(len(x), device=x.device)
            for label in terms:
                with span("losses", label, "loss"):
                    raised = getattr(self.terms[label], method)(**self._arguments(label, method, fixed))
                total = total + self.run.weights[label] * raised
            return total

        return objective

    def _with_negatives(self, values: Values, side: str) -> Tensor:
        negatives = values.batch["negatives"] if side == "fake" and values.joined else None
        images = values.images[side]
        return images if negatives is None else torch.cat([images, negatives])

    def _view(self, images: Tensor, side: str, blend: tuple[Tensor, Tensor] | None) -> Tensor:
        """Return what the discriminator sees of a side's images."""
        view = self._seen(images, side)
        if side != "real" or blend is None:
            return view
        partner, share = blend
        share = share.view(-1, *(1,) * (view.ndim - 1))
        return share * view + (1 - share) * self._seen(partner, "partner")

    def _seen(self, images: Tensor, side: str) -> Tensor:
        for label, sampler in self.run.samplers.items():
            with span("samplers", label, "view"):
                images = sampler.view(images, self.noise("view", label, side))
        on = self.run.plan.stands_on
        if on is None:
            return images
        with torch.set_grad_enabled(images.requires_grad or self.plan.player == on), span("networks", on, "forward"):
            return as_images(self.run.networks[on].embed(images))

    def _make_views(self, values: Values, seen: Mapping[str, Tensor]) -> None:
        for side in self.plan.views:
            if ":" in side:
                label, name = side.split(":")
                term = self.run.plan.terms[label]
                method = term.cls.extra_views[name]
                with span("losses", label, "view"):
                    view = getattr(self.terms[label], method)(**self._arguments(label, method, values))
                values.label[side] = values.label["real"]
            else:
                images = seen[side] if side in seen else self._with_negatives(values, side)
                view = self._view(images, side, values.blend)
            if side in self.plan.leaves and not view.requires_grad:
                # The batch's own images, or those a replay will reuse, must not become leaves themselves.
                view = view.detach().requires_grad_()
            values.view[side] = view

    def _discriminate(
        self, values: Values, sides: Sequence[str], heads: Mapping[str, tuple[str, ...]], grad: bool, activations: bool
    ) -> None:
        """Send the views of some sides through the discriminator as one batch, and split what comes out."""
        discriminator = self.run.networks[DISCRIMINATOR]
        sizes = [len(values.view[side]) for side in sides]
        shapes = {tuple(values.view[side].shape[1:]): side for side in reversed(sides)}
        if len(shapes) > 1:
            shown = " and ".join(f"{side} ones of {' x '.join(map(str, shape))}" for shape, side in reversed(shapes.items()))
            raise GancoreError(
                f"{self.run.recipe.name}: the discriminator can't see {shown} in one batch; "
                "leave out the sampler that changes the size of the real images, or choose a generator of that size."
            )
        x = values.view[sides[0]] if len(sides) == 1 else torch.cat([values.view[side] for side in sides])
        with torch.set_grad_enabled(grad), recorded(discriminator, activations) as hidden:
            with span("networks", DISCRIMINATOR, "forward"):
                features = discriminator(x)
            pieces = dict(zip(sides, features.split(sizes), strict=True))
            for name, wanted in heads.items():
                head = self.run.heads[name]
                with span("heads", name, "forward"):
                    if tuple(wanted) == tuple(sides):
                        label = values.label[sides[0]] if len(sides) == 1 else torch.cat([values.label[s] for s in sides])
                        outputs = head(features, label).float().split(sizes)
                    else:
                        outputs = tuple(head(pieces[side], values.label[side]).float() for side in wanted)
                for side, output in zip(wanted, outputs, strict=True):
                    values.head[name, side] = output
        for number, side in enumerate(sides):
            values.features[side] = pieces[side].float()
            values.activations[side] = [layer.split(sizes)[number] for layer in hidden]

    def _forward_networks(self, values: Values, seen: Mapping[str, Tensor]) -> None:
        for forward in self.plan.networks:
            network = self.run.networks[forward.network]
            with torch.set_grad_enabled(forward.grad), span("networks", forward.network, "forward"):
                # An attack is on the player alone; what stands beside it sees the images as they are.
                attacked = forward.network == self.plan.player and forward.side in seen
                images = seen[forward.side] if attacked else values.images[forward.side]
                if not forward.embedding:
                    values.network[forward.network, forward.side] = network(images).float()
                    continue
                features = network.embed(images)
                values.embedding[forward.network, forward.side] = features.float()
                values.network[forward.network, forward.side] = network.classify(features).float()

    def _arguments(self, label: str, method: str, values: Values) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for need in self.run.plan.terms[label].methods[method]:
            if need.kind == "noise":
                arguments[need.name] = self.noise("loss", label, method)
            elif need.kind == "iteration":
                arguments[need.name] = self.run.iteration_tensor
            else:
                arguments[need.name] = values.find(need)
        return arguments

    def _after_step(self, values: Values, leaf: Tensor | None) -> None:
        run = self.run
        for label, term in self.terms.items():
            project = getattr(term, "project", None)
            if project is not None:
                with span("losses", label, "project"):
                    project(self.plan.player, self.player.parameters)
            if "observe" in run.plan.terms[label].methods:
                with span("losses", label, "observe"):
                    term.observe(**self._arguments(label, "observe", values))
        if leaf is not None:
            assert leaf.grad is not None
            assert run.attack is not None
            # Each process's loss is a mean over its own images; an attack learns from that over all.
            grad = leaf.grad if distributed.world_size() == 1 else leaf.grad / distributed.world_size()
            with span("attacks", self.attack_label, "update"):
                run.attack.update(grad, values.images["real"])
        if run.average is not None and run.average_of == self.plan.player:
            with span("ema"):
                run.average.update(run.iteration)


@contextlib.contextmanager
def _spectral_norm_once() -> Iterator[None]:
    """Compute every parametrized weight, and so every power iteration, once in this turn."""
    with parametrize.cached():
        yield
