"""The loss terms of a plan: what each of them asks for, or why it is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import attrs

from gancore.errors import GancoreError, did_you_mean, listed
from gancore.plan.phases import needs_of, sees_apart
from gancore.plan.plan import DISCRIMINATOR, GENERATOR, Need, Plan, Term
from gancore.plan.vocabulary import RESERVED, SIDES, attacked_method, parameters_of, split, vocabulary


def with_needs(term: Term, plan: Plan) -> Term:
    """Return a loss term with what its methods need, or refuse what is not there.

    Raises:
        GancoreError: It takes part in no player's loss, or its parameters or keys name what the recipe does not have.
    """
    cls, players = term.cls, _players(term, plan)
    attacked = [attacked_method(side) for side in (plan.attack.keys.sides if plan.attack is not None else ())]
    methods = [*players, *cls.extra_views.values()]
    methods += [name for name in ("observe", "prepare", *attacked) if callable(getattr(cls, name, None))]
    names = vocabulary(plan, term)
    parameters = {method: parameters_of(getattr(cls, method)) for method in methods}
    # Before the first turn there is nothing else, and after it what the losses have kept.
    has = {"prepare": {name: names[name] for name in ("player", "parameters")}}
    has["observe"] = {**_kept(term, parameters.get("observe", ()), plan), **names}
    available = {method: has.get(method, names) for method in methods}
    for method, own in parameters.items():
        for name, required in own.items():
            if required and name not in available[method]:
                _refuse_missing(term, method, name, available[method], plan)
    needs = {method: tuple(available[method][n] for n in own if n in available[method]) for method, own in parameters.items()}
    _check_reads(term, {name for own in parameters.values() for name in own})
    _check_sides(term, players, needs, plan)
    for method in attacked:
        _check_attacked(term, method, needs.get(method, ()), plan)
    views = {name: need for name, need in names.items() if need.kind in ("view", "images")}
    for view in cls.differentiates:
        if view not in views:
            raise GancoreError(f"{term.where} differentiates {view!r}, which is no view; it may name {listed(views)}.")
        if views[view].kind == "images" and plan.attack is not None and views[view].side in plan.attack.keys.sides:
            raise GancoreError(
                f"{term.where} differentiates the images {view!r}, and the discriminator sees what {plan.attack.where} makes "
                f"of them; it may differentiate {view}_view."
            )
    term = attrs.evolve(term, methods={**needs, "differentiates": tuple(views[view] for view in sorted(cls.differentiates))})
    _check_rows(term, plan)
    return term


def _kept(term: Term, observed: Iterable[str], plan: Plan) -> dict[str, Need]:
    """Return what a term's losses hand to its `observe` themselves: names that no side and no recipe could have."""
    sides = (*SIDES, *plan.sides, *plan.further, *term.cls.extra_views, *RESERVED)
    return {name: Need(name, "kept", name, term.label) for name in observed if split(name)[0] not in sides}


def _players(term: Term, plan: Plan) -> list[str]:
    """Return the players in whose losses a term takes part, or refuse one that takes part in none."""
    keys = term.keys
    if keys.stop is not None and keys.stop <= keys.start:
        raise GancoreError(f"{term.where}: stop = {keys.stop} must be above start = {keys.start}.")
    players = [player for player in plan.players if callable(getattr(term.cls, player, None))]
    for player in keys.players or ():
        if player not in players:
            raise GancoreError(
                f"{term.where}: players names {player!r}, for which it has no loss{did_you_mean(player, players)} "
                f"(it has one for: {listed(players)})."
            )
    players = [player for player in players if keys.players is None or player in keys.players]
    if not players:
        usual = [player for player in ("generator", "discriminator", "classifier") if callable(getattr(term.cls, player, None))]
        raise GancoreError(
            f"{term.where} takes part in no player's loss: it has a loss for {listed(usual)}, "
            f"and the loop trains {listed(plan.players)}."
        )
    return players


def _refuse_missing(term: Term, method: str, name: str, names: Iterable[str], plan: Plan) -> None:
    """Refuse a name that nothing provides, with what the recipe reads in its place."""
    reads, (side, what) = term.keys.reads, split(name)
    suffix = name.removeprefix(side).removeprefix(f"_{what}")
    side = reads.get(side, side) if side in SIDES else side
    read = f"{side}_{reads.get(what, what)}{suffix}" if what else f"{side}{suffix}"
    raise GancoreError(
        f"{term.where} asks for {read!r} in its {method}, which nothing in this recipe provides: "
        f"{_remedy(read, term, plan)}{did_you_mean(read, names)}."
    )


def _remedy(name: str, term: Term, plan: Plan) -> str:
    side, _, what = name.partition("_")
    if side.startswith("fake") and GENERATOR not in plan.networks:
        return "it has no generator"
    if what and side in (*SIDES, *term.cls.extra_views):
        return f"add [heads.{what}] or [networks.{what}]"
    source = f"add a source of images, [sources.{side}], if that is what it means, or " if what else ""
    return f"{source}see `gancore explain` for the names it has"


def _check_reads(term: Term, parameters: Collection[str]) -> None:
    """Refuse a `reads` that changes nothing, which is a slip of the pen."""
    pairs = [split(name) for name in parameters]
    named = {what for _, what in pairs if what} | {side for side, _ in pairs if side in SIDES}
    for label in term.keys.reads:
        if label not in named:
            raise GancoreError(
                f"{term.where}: reads replaces {label!r}, which no parameter of it names{did_you_mean(label, named)} "
                f"(they name: {listed(named)})."
            )


def _check_sides(term: Term, players: Iterable[str], needs: Mapping[str, Iterable[Need]], plan: Plan) -> None:
    """Refuse a term that reads other sides, and so is a constant to a generator in whose loss it takes part."""
    for player in players:
        own = {side for side, label in plan.sides.items() if label == player}
        moved = any(need.side in own or ":" in need.side for need in needs[player])
        if own and not moved and not term.keys.reads.keys().isdisjoint(SIDES):
            read = ", ".join(term.keys.reads.values())
            raise GancoreError(
                f"{term.where} reads {read}, so nothing in its loss of the {player} depends on the {player}; say in whose "
                'losses it takes part, e.g. players = ["discriminator"].'
            )


def _check_rows(term: Term, plan: Plan) -> None:
    """Refuse a term that is about generated images alone where others would stand among them or in their place."""
    latents = {need.label for needs in term.methods.values() for need in needs} & {"z", *plan.codes}
    why = f"asks for {listed(latents)}" if latents else "is no mean over the images of a side"
    side = term.keys.reads.get("fake")
    if side not in (None, *plan.sides) and (latents or not term.cls.mean_over_images):
        raise GancoreError(
            f"{term.where} {why}, so it can't read {side!r}, which no generator makes, as fake; choose another loss."
        )
    apart = sees_apart(plan, term, DISCRIMINATOR)
    for side in {need.side for need in needs_of(term, DISCRIMINATOR)} & plan.joined.keys():
        if apart and any((need.kind, need.side) == ("view", side) for need in term.methods["differentiates"]):
            raise GancoreError(
                f"{term.where} differentiates its view and asks for what generated images alone have, and {plan.joined[side]} "
                f'joins others to {side!r} in D\'s turn; leave one of them out, or the term out of it: players = ["generator"].'
            )


def _check_attacked(term: Term, method: str, needs: Iterable[Need], plan: Plan) -> None:
    """Refuse what an attack does not compute: it passes images through its target alone, again and again."""
    target = plan.target
    for need in needs:
        own = need.kind in ("head", "features") if target == DISCRIMINATOR else need.kind == "network" and need.label == target
        if not own and need.kind not in ("batch", "images", "noise"):
            raise GancoreError(
                f"{term.where} asks for {need.name!r} in its {method}, which an attack on the {target} does not compute; "
                "it may ask for the target's own outputs, images and labels."
            )
