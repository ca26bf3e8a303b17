"""What each phase computes: a pure function of the plan, a player and the active terms."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import attrs

from gancore.plan.plan import DISCRIMINATOR, Need, Plan
from gancore.plan.vocabulary import attacked_method


@attrs.frozen
class Forward:
    """One forward of the discriminator's backbone.

    Attributes:
        sides: Whose views go through, as one batch.
        grad: Whether the graph is kept.
        heads: For each head, the sides it is evaluated on.
        activations: Whether hidden activations are kept.
    """

    sides: tuple[str, ...]
    grad: bool
    heads: dict[str, tuple[str, ...]]
    activations: bool


@attrs.frozen
class NetworkForward:
    """One forward of a further network on a side's images."""

    network: str
    side: str
    grad: bool
    embedding: bool


@attrs.frozen
class PhasePlan:
    """What one phase of one player computes, in this order.

    Attributes:
        player: Whose turn it is.
        generators: Sides whose images are generated -> whether the graph is kept.
        views: Sides that the discriminator sees.
        leaves: Views that become leaves, because a term or an attack differentiates them.
        forwards: The discriminator's forwards.
        networks: Forwards of further networks.
        terms: Labels of the terms that are summed.
        attacked: Sides whose images the attack perturbs before the player sees them.
    """

    player: str
    generators: dict[str, bool]
    views: tuple[str, ...]
    leaves: frozenset[str]
    forwards: tuple[Forward, ...]
    networks: tuple[NetworkForward, ...]
    terms: tuple[str, ...]
    attacked: tuple[str, ...]


def plan_phase(plan: Plan, player: str, active: Collection[str]) -> PhasePlan:
    """Return what one phase computes, for a set of active terms.

    Real and generated images share one forward of the discriminator, unless it has batch statistics, or a term
    differentiates the view (its second-order graph would otherwise span the whole batch), or only one of them needs a graph.
    """
    terms = [plan.terms[label] for label in sorted(active) if player in plan.terms[label].methods]
    attacked: tuple[str, ...] = ()
    needs: list[Need] = []
    differentiated: set[str] = set()
    for term in terms:
        needs += term.methods[player]
        if "observe" in term.methods:
            needs += term.methods["observe"]
        for view in term.cls.differentiates:
            side = view.removesuffix("_view")
            side = term.keys.reads.get(side, side)
            full = f"{term.label}:{side}" if side in term.cls.extra_views else side
            differentiated.add(full)
        for view, method in term.cls.extra_views.items():
            if any(need.side == f"{term.label}:{view}" for need in term.methods[player]):
                needs += term.methods[method]
    through_d = [need for need in needs if need.kind in ("view", "head", "features", "activations")]
    viewed = {need.side for need in through_d}
    differentiated &= viewed
    if plan.attack is not None and player == plan.attack.target:
        looked = viewed | {need.side for need in needs if need.kind in ("network", "embedding") and need.label == player}
        raising = plan.attack.cls.gradient == "shared"
        attacked = tuple(
            side
            for side in plan.attack.keys.sides
            if side in looked and (raising or any(attacked_method(side) in term.methods for term in terms))
        )
        if plan.attack.cls.gradient == "own":
            for term in terms:
                for side in attacked:
                    needs += [need for need in term.methods.get(attacked_method(side), ()) if need.side != side]
            through_d = [need for need in needs if need.kind in ("view", "head", "features", "activations")]
            viewed |= {need.side for need in through_d}
    generators = _generators(plan, player, needs, viewed)
    leaves = frozenset(side for side in differentiated if not generators.get(side, False))
    shared = bool(attacked) and plan.attack is not None and plan.attack.cls.gradient == "shared"
    forwards = _forwards(plan, player, through_d, generators, differentiated, shared)
    return PhasePlan(
        player=player,
        generators=generators,
        views=_ordered(viewed, plan),
        leaves=leaves | ({"real"} if shared and "real" in viewed else frozenset()),
        forwards=forwards,
        networks=_network_forwards(player, needs, generators),
        terms=tuple(term.label for term in terms),
        attacked=attacked,
    )


def _generators(plan: Plan, player: str, needs: Iterable[Need], viewed: Collection[str]) -> dict[str, bool]:
    wanted = {need.side for need in needs if need.side in plan.sides} | {side for side in viewed if side in plan.sides}
    return {side: label == player for side, label in plan.sides.items() if side in wanted}


def _ordered(sides: Collection[str], plan: Plan) -> tuple[str, ...]:
    rank = {side: number for number, side in enumerate(["real", *plan.sides, *plan.further])}
    return tuple(sorted(sides, key=lambda side: (rank.get(side, len(rank)), side)))


def _forwards(
    plan: Plan,
    player: str,
    needs: Iterable[Need],
    generators: Mapping[str, bool],
    differentiated: Collection[str],
    shared: bool,
) -> tuple[Forward, ...]:
    needs = [need for need in needs if need.kind != "view"]
    groups: dict[tuple[bool, str], list[str]] = {}
    batch_statistics = DISCRIMINATOR in plan.networks and getattr(plan.networks[DISCRIMINATOR].cls, "batch_statistics", False)
    for side in _ordered({need.side for need in needs}, plan):
        # An extra view is made from others, so it carries a graph wherever they do.
        extra = ":" in side
        graph = player in (DISCRIMINATOR, plan.stands_on) or generators.get(side, False) or side in differentiated
        graph = graph or (side == "real" and shared)
        graph = graph or (extra and any(generators.values()))
        alone = side if batch_statistics or side in differentiated else ""
        groups.setdefault((graph, alone), []).append(side)
    forwards = []
    for (grad, _), sides in groups.items():
        heads: dict[str, list[str]] = {}
        for need in needs:
            if need.kind == "head" and need.side in sides and need.side not in heads.setdefault(need.label, []):
                heads[need.label].append(need.side)
        kept = any(need.kind == "activations" and need.side in sides for need in needs)
        forwards.append(Forward(tuple(sides), grad, {h: _ordered(s, plan) for h, s in sorted(heads.items())}, kept))
    return tuple(forwards)


def _network_forwards(player: str, needs: Iterable[Need], generators: Mapping[str, bool]) -> tuple[NetworkForward, ...]:
    needs = list(needs)
    embedded = {(need.label, need.side) for need in needs if need.kind == "embedding"}
    wanted = embedded | {(need.label, need.side) for need in needs if need.kind == "network"}
    return tuple(
        NetworkForward(n, side, grad=n == player or generators.get(side, False), embedding=(n, side) in embedded)
        for n, side in sorted(wanted)
    )
