"""Robust accuracy and local Lipschitz value of a run's classifier, as a score of its evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from gancore import GancoreError, Metric, Range
from gancore_standard.budgets import budget
from gancore_standard.defenses import build_defense
from gancore_standard.robustness import build_attack, classifier_of, robust_accuracy

if TYPE_CHECKING:
    from gancore.tools import Run

WHERE = "the robust accuracy"


class RobustAccuracy(Metric):
    """How often a classifier is still right when an attack perturbs real images within a budget; and how steep its loss is.

    Madry et al. 2018 (arXiv:1706.06083); RobGAN (arXiv:1807.10454) scores so the class head of its discriminator, and the
    local Lipschitz value, its section 3.1. Reports ``natural``, the accuracy on the images as they are, and for each budget
    ``accuracy_<epsilon>``, all from 0 to 1; and ``lipschitz``, the mean over the images of the Euclidean norm of the cross
    entropy's gradient, 0 or more. ``gancore attack`` computes the same on a trained run.

    Args:
        attack: Name of the attack component, e.g. ``fastrobgan/pgd``.
        epsilons: Its budgets, on the [-1, 1] scale of the images, or as levels of a pixel: ``"8/255"``.
        settings: Its other settings, e.g. ``{steps = 20}``.
        classifier: A classifier that the run trains, or a head of its discriminator with class logits; by default the first.
        samples: Images that are attacked, evenly spread over the split; all of them where there are fewer.
        split: Of the recipe's image set; by default that of the evaluation.
        seed: Of the attack's random starts, and of a defense's randomness.
        defense: Name of a defense component that stands in front of the classifier, e.g. ``standard/bit-depth``; the scores are
            those of the classifier behind it, and it says what the attacker sees.
        defense_settings: Its settings, e.g. ``{bits = 2}``.

    Raises:
        GancoreError: There is no budget, or one twice, or one that is not finite.
    """

    better: ClassVar[Mapping[str, str]] = {"natural": "higher", "lipschitz": "lower"}

    def __init__(
        self,
        *,
        attack: str,
        epsilons: list[Annotated[float, Range(0)] | str],
        settings: dict[str, Any] | None = None,
        classifier: str | None = None,
        samples: Annotated[int, Range(1)] = 1000,
        split: Literal["train", "test"] | None = None,
        seed: Annotated[int, Range(0)] = 0,
        defense: str | None = None,
        defense_settings: dict[str, Any] | None = None,
    ) -> None:
        budgets = [budget(epsilon, "one of the epsilons") for epsilon in epsilons]
        self.names = {f"{epsilon:g}": f"accuracy_{epsilon:g}" for epsilon in budgets}
        if not budgets or len(self.names) < len(budgets) or not all(map(math.isfinite, budgets)):
            raise GancoreError(f"epsilons must be one or more finite budgets, each once, not {epsilons}.")
        if "epsilon" in (settings or {}):
            raise GancoreError("settings.epsilon would be overridden by each of the epsilons; leave it out.")
        if defense_settings and defense is None:
            raise GancoreError("defense_settings are those of a defense; name it by defense, or leave them out.")
        self.defense = defense
        self.defense_settings = defense_settings or {}
        self.attack = attack
        self.epsilons = budgets
        self.settings = settings or {}
        self.classifier = classifier
        self.samples = samples
        self.split = split
        self.seed = seed
        # One score per budget, so the names are known with the settings alone.
        self.better = {**RobustAccuracy.better, **dict.fromkeys(self.names.values(), "higher")}  # type: ignore[misc]
        self._protocol: dict[str, Any] = {}

    def prepare(self, run: Run) -> None:
        """Build the attack and find the classifier, so that what can't be scored is refused before the training.

        Raises:
            GancoreError: There is no such attack or classifier, or a setting of the attack is wrong.
        """
        for epsilon in self.epsilons:
            build_attack(run.plan.registry, self.attack, self.settings, run.parts.context(), epsilon, where=WHERE)
        if self.defense is not None:
            build_defense(run, self.defense, self.defense_settings, where=WHERE)
        with classifier_of(run, self.classifier):
            pass

    def score_run(self, run: Run) -> dict[str, Any]:
        """Return ``natural``, ``accuracy_<epsilon>`` for each budget, and ``lipschitz``.

        Raises:
            GancoreError: There is no such attack or classifier, or a setting of the attack is wrong.
        """
        result = robust_accuracy(
            run,
            self.attack,
            self.epsilons,
            settings=self.settings,
            classifier=self.classifier,
            samples=self.samples,
            split=self.split or run.recipe.evaluation.split,
            seed=self.seed,
            defense=self.defense,
            defense_settings=self.defense_settings,
        )
        # Which weights were attacked is what is scored, not how.
        self._protocol = {key: value for key, value in result.protocol.items() if key not in ("id", "classifier", "weights")}
        accuracies = {self.names[epsilon]: value for epsilon, value in result.accuracy.items()}
        return {"natural": result.natural, **accuracies, "lipschitz": result.lipschitz}

    def protocol(self) -> dict[str, Any]:
        """Return the attack with its settings but for the budget, the defense, images, seed and precision of the last score."""
        return self._protocol
