"""A prior GAN scored by what it is for: the fooling rate of a perturbation crafted on its images (CBGAN, Tables 4, 5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from gancore_standard.tools import own_random_state
from gancore_training import Progress, one_process

import gancore
from gancore import GancoreError
from gancore.tools import digest, load_split
from gancore_uap import cycles, judging, options, pipeline, planning, scoring, victims
from gancore_uap.perturbation_files import Perturbation, random_perturbation
from gancore_uap.proxy_files import ProxySummary, Writer
from gancore_uap.workbench import Workbench, folder_for

if TYPE_CHECKING:
    from gancore_training import TrainingRun

Count = Annotated[int, gancore.Range(1)]


class FoolingRate(gancore.Metric):
    """Fooling rate of a universal perturbation that is crafted on what a prior GAN generates, or on other images in its place.

    To be computed of a run that has ended: it samples the generator as it was at the end of each cycle that is kept
    (`run.keep_checkpoints`), as `gancore uap prior` does, crafts a perturbation on these images, and judges it on the target's
    test images. Proxy set and perturbation lie in the run's folder ``uap``, and what is there is not made anew. Reports
    ``fooling_rate`` and ``noise``, that of noise of the same budget, as shares, and of generated images ``entropy``, the mean
    entropy in nats of what the classifier in the loop says of them, and ``classes``, how many it finds.

    Args:
        victim: The classifier to be fooled, as for `gancore uap`: a recipe or a run with a [networks.classifier].
        target: The data set whose images are judged.
        target_set: ``KEY=VALUE`` texts of it.
        method: The crafting recipe.
        method_with: Recipes that are laid over it.
        method_set: ``KEY=VALUE`` texts of it.
        crafted_on: The images: generated, the GAN's own data (arbitrary images as they are), or the target's training images.
        images: Of each cycle.
        image_size: Height and width to which the images are resized for the crafting, e.g. the victim's 224; 0 leaves them.
        samples: Images of the target, evenly over its test split.
    """

    better: ClassVar[Mapping[str, str]] = {"fooling_rate": "higher"}
    generates: ClassVar[bool] = True

    def __init__(
        self,
        *,
        victim: str,
        target: str,
        target_set: list[str] | None = None,
        method: str = "uap/gap",
        method_with: list[str] | None = None,
        method_set: list[str] | None = None,
        crafted_on: Literal["generated", "data", "target"] = "generated",
        images: Count = 1024,
        image_size: Annotated[int, gancore.Range(0, 4096)] = 0,
        samples: Count = 10_000,
    ) -> None:
        self.victim, self.crafted_on = victim, crafted_on
        self.target = options.data_table(target, target_set or [], "target_set")
        self.method, self.method_with, self.method_set = method, method_with or [], method_set or []
        self.images, self.image_size, self.samples = images, image_size, samples
        self._told: dict[str, Any] = {}

    def prepare(self, run: TrainingRun) -> None:
        """Refuse a run that generates for no classifier, and what can be seen to be wrong with crafting, victim and target.

        Raises:
            GancoreError: Any of that, or several processes.
        """
        one_process("the score uap/fooling-rate")
        if victims.LABEL not in run.networks:
            raise GancoreError(f"{run.recipe.name} has no [networks.{victims.LABEL}] in its loop; score a prior GAN.")
        workbench = _workbench(run)
        self._planned(workbench, run, self._table(run, None))
        judging.check_target(workbench, [self.victim], judging.Target(self.target), ())

    def score_run(self, run: TrainingRun) -> dict[str, Any]:
        """Return the scores.

        Raises:
            GancoreError: Anything wrong with run, data, victim or folder.
        """
        if run.folder is None:
            raise GancoreError(f"{run.recipe.name} is kept in no folder, so there are no cycles to sample; train it into one.")
        workbench, place = _workbench(run), folder_for(run.folder / "uap")
        with own_random_state(run.device, run.seed):
            summary = self._proxy(run, place / f"proxy-{self.images}") if self.crafted_on == "generated" else None
            recipe = self._planned(workbench, run, self._table(run, place / f"proxy-{self.images}"))
            path = pipeline.craft(workbench, recipe, place / self._name(), victim_specs=[self.victim])
            rates = self._judged(workbench, Perturbation.load(path), run.seed)
        if summary is None:
            return rates
        return {**rates, "entropy": summary.entropy, "classes": summary.distinct_so_far[-1]}

    def protocol(self) -> dict[str, Any]:
        """Return the method, whom the perturbation is to fool, within which budget, and what it was judged on.

        What it was crafted on is what such scores compare, so it is not told here; the run's folder ``uap`` holds the crafting.
        """
        return {
            "method": [self.method, *self.method_with],
            "victim": self.victim,
            "target": self.target,
            "samples": self.samples,
            "images_as": "8 bit",
            **self._told,
        }

    def _name(self) -> str:
        """Return the name of the folder for what this score crafts; other settings have another one."""
        settings = [self.method, self.method_with, self.method_set, self.victim, self.crafted_on, self.images, self.image_size]
        told = [settings, self.target if self.crafted_on == "target" else None]
        return f"crafted-{digest([json.dumps(told, sort_keys=True).encode()], 12)}"

    def _table(self, run: TrainingRun, proxy: Path | None) -> dict[str, Any]:
        """Return the ``[data]`` to craft on; before there is a proxy set, images like those of one."""
        tables = {"data": run.recipe.table["data"], "target": self.target}
        generated = tables["data"] if proxy is None else {"use": "uap/proxy", "path": str(proxy.resolve())}
        table = tables.get(self.crafted_on, generated)
        return {**table, "image_size": self.image_size} if self.image_size else dict(table)

    def _planned(self, workbench: Workbench, run: TrainingRun, data: Mapping[str, Any]) -> Any:
        assignments = [*self.method_set, f"run.seed={run.seed}"]
        return planning.plan_crafting(
            workbench, self.method, victim_specs=[self.victim], data=data, overlays=self.method_with, assignments=assignments
        )

    def _proxy(self, run: TrainingRun, folder: Path) -> ProxySummary:
        """Sample the cycles that the run has kept, unless that is done."""
        assert run.folder is not None
        # A training that was stopped has left checkpoints of other iterations too.
        paths = [run.folder / "checkpoints" / f"{end:08d}.safetensors" for end in planning.cycles_of(run.recipe)]
        ends = [path for path in paths if path.is_file()]
        if not ends or int(ends[-1].stem) != run.iteration:
            raise GancoreError(
                f"{run.folder} has no checkpoint of iteration {run.iteration}, where its last cycle would end; score the prior "
                "when its training has ended, with run.checkpoint_every at the length of a cycle."
            )
        classifier, info = run.networks[victims.LABEL].eval(), run.plan.info
        sizes = {"channels": info.channels, "image_size": info.image_size, "classes": classifier.classes}
        about = {"recipe": run.recipe.name, "seed": run.seed, "sampled": [len(ends), self.images]}
        writer = Writer(folder_for(folder), form="safetensors", about=about, **sizes)
        return cycles.sample_cycles(run, ends, self.images, classifier, writer, progress=_tell_nobody)

    def _judged(self, workbench: Workbench, perturbation: Perturbation, seed: int) -> dict[str, float]:
        opened = victims.open_victims([self.victim], self.target, workbench.registry, workbench.device, workbench.progress)
        victim = next(iter(opened.values()))
        self._told = {"victim_fingerprint": victim.fingerprint, "epsilon": perturbation.epsilon, "norm": perturbation.norm}
        images, labels = load_split(victim.dataset, "test")
        number = min(self.samples, len(labels))
        chosen = torch.arange(number) * len(labels) // number
        noise = random_perturbation(tuple(perturbation.delta.shape), perturbation.epsilon, perturbation.norm, seed)
        deltas = {"fooling_rate": perturbation.delta, "noise": noise.delta}
        # Whether a prediction changes is asked, not whether it was right, so the target may have other classes.
        unknown = torch.zeros(number, dtype=torch.int64)
        matrix = scoring.transfer_matrix({"": victim}, deltas, images[chosen], unknown, device=workbench.device)
        return {name: row[""].fooling_rate for name, row in matrix.items()}


def _workbench(run: TrainingRun) -> Workbench:
    return Workbench(run.plan.registry, run.device, Progress(), _tell_nobody)


def _tell_nobody(_line: str) -> None:
    """Take what a stage says; a score has nowhere to say it."""
