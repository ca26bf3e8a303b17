"""What each phase computes: a pure function of the plan, a player and the active terms."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import attrs

from gancore.plan.plan import DISCRIMINATOR, Need, Plan, Term
from gancore.plan.vocabulary import SEEN, attacked_method, extra_side


@attrs.frozen
class Forward:
    """One forward of the discriminator's backbone.

    Attributes:
        sides: Whose views go through, as one batch.
        grad: Whether the graph is kept.
        heads: For each head, the sides it is evaluated on.
        activations: Whether the hidden activations, and what they are of, are kept.
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
        image_leaves: Sides whose images, before anything is done to them, become leaves for a term.
        forwards: The discriminator's forwards.
        networks: Forwards of further networks.
        terms: Labels of the terms that are summed.
        attacked: Sides whose images the attack perturbs before the player sees them.
        apart: Labels of the terms that see the generated images of a side without those that samplers join to them.
    """

    player: str
    generators: dict[str, bool]
    views: tuple[str, ...]
    leaves: frozenset[str]
    image_leaves: frozenset[str]
    forwards: tuple[Forward, ...]
    networks: tuple[NetworkForward, ...]
    terms: tuple[str, ...]
    attacked: tuple[str, ...]
    apart: frozenset[str]


def plan_phase(plan: Plan, player: str, active: Collection[str]) -> PhasePlan:
    """Return what one phase computes, for a set of active terms.

    Real and generated images share one forward of the discriminator, unless it has batch statistics, or a term
    differentiates the view (its second-order graph would otherwise span the whole batch), or only one of them needs a graph.
    """
    terms = [plan.terms[label] for label in sorted(active) if player in plan.terms[label].methods]
    needs = [need for term in terms for need in needs_of(term, player)]
    differentiated = _through_d(needs) & _differentiated(terms, "view", "images")
    attacked = _attacked(plan, player, terms, needs)
    gradient = plan.attack.cls.gradient if plan.attack is not None and attacked else None
    if gradient == "own":
        # What an attack on a side raises may compare it with others, which are computed once.
        raised = ((side, term.methods.get(attacked_method(side), ())) for term in terms for side in attacked)
        needs += [need for side, asked in raised for need in asked if need.side != side]
    viewed = _through_d(needs)
    generators = {side: label == player for side, label in plan.sides.items() if any(need.side == side for need in needs)}
    trained = {side for side, grad in generators.items() if grad}
    # The gradient of the one backward is what an attack of gradient "shared" learns from.
    shared = {"real"} & viewed if gradient == "shared" else set()
    graphs = trained | differentiated | shared
    if player in (DISCRIMINATOR, plan.stands_on):
        graphs |= viewed
    elif trained:
        # An extra view is made from others, so it carries a graph wherever they do.
        graphs |= {side for side in viewed if ":" in side}
    embedded = {(need.label, need.side) for need in needs if need.kind == "embedding"}
    asked = embedded | {(need.label, need.side) for need in needs if need.kind == "network"}
    return PhasePlan(
        player=player,
        generators=generators,
        views=_ordered(viewed, plan),
        leaves=frozenset(_differentiated(terms, "view") & viewed - trained | shared),
        image_leaves=frozenset(_differentiated(terms, "images") & viewed - trained),
        forwards=tuple(_forwards(plan, needs, graphs, differentiated)),
        networks=tuple(
            NetworkForward(label, side, grad=label == player or side in trained, embedding=(label, side) in embedded)
            for label, side in sorted(asked)
        ),
        terms=tuple(term.label for term in terms),
        attacked=attacked,
        apart=frozenset(term.label for term in terms if sees_apart(plan, term, player)),
    )


def sees_apart(plan: Plan, term: Term, player: str) -> bool:
    """Return whether a term asks for what joined images have not: latents, images as generated, what networks say of them."""
    latent = {"z", *plan.codes}
    return player == DISCRIMINATOR and any(
        need.label in latent
        if need.kind == "batch"
        else need.kind in ("images", "network", "embedding") and need.side in plan.joined
        for need in needs_of(term, player)
    )


def needs_of(term: Term, player: str) -> tuple[Need, ...]:
    """Return what a term needs in a player's turn: for its loss, for what it observes after it, and for its extra views."""
    if player not in term.methods:
        return ()
    needs = (*term.methods[player], *term.methods.get("observe", ()))
    sides = {need.side for need in term.methods[player]}
    views = [method for view, method in term.cls.extra_views.items() if extra_side(term.label, view) in sides]
    return (*needs, *(need for method in views for need in term.methods[method]))


def _differentiated(terms: Iterable[Term], *kinds: str) -> set[str]:
    """Return the sides whose views or images terms differentiate."""
    return {need.side for term in terms for need in term.methods["differentiates"] if need.kind in kinds}


def _through_d(needs: Iterable[Need]) -> set[str]:
    """Return the sides that the discriminator sees."""
    return {need.side for need in needs if need.kind in ("head", *SEEN)}


def _attacked(plan: Plan, player: str, terms: Iterable[Term], needs: Iterable[Need]) -> tuple[str, ...]:
    """Return the sides that the attack perturbs: those that its target looks at, and of which a term says what to raise."""
    if plan.attack is None or player != plan.target:
        return ()
    own = {need.side for need in needs if need.kind in ("network", "embedding") and need.label == player}
    looked = _through_d(needs) | own
    methods = {method for term in terms for method in term.methods}
    raising = plan.attack.cls.gradient == "shared"
    return tuple(side for side in plan.attack.keys.sides if side in looked and (raising or attacked_method(side) in methods))


def _ordered(sides: Collection[str], plan: Plan) -> tuple[str, ...]:
    rank = {side: number for number, side in enumerate(["real", *plan.sides, *plan.further])}
    return tuple(sorted(sides, key=lambda side: (rank.get(side, len(rank)), side)))


def _forwards(plan: Plan, needs: Iterable[Need], graphs: Collection[str], alone: Collection[str]) -> Iterator[Forward]:
    """Yield the discriminator's forwards; the sides in `graphs` need a graph, and those in `alone` go through by themselves."""
    needs = [need for need in needs if need.kind in ("head", *SEEN) and need.kind != "view"]
    apart = any(planned.label == DISCRIMINATOR for planned in plan.batch_statistics)
    batches: dict[tuple[bool, str], list[str]] = {}
    for side in _ordered({need.side for need in needs}, plan):
        batches.setdefault((side in graphs, side if apart or side in alone else ""), []).append(side)
    for (grad, _), sides in batches.items():
        asked = {(need.label, need.side) for need in needs if need.kind == "head" and need.side in sides}
        heads = {head: tuple(side for side in sides if (head, side) in asked) for head in sorted({head for head, _ in asked})}
        activations = any(need.kind in ("activations", "preactivations") and need.side in sides for need in needs)
        yield Forward(tuple(sides), grad, heads, activations)
