"""Everything that is needed to use a run's generator without gancore, in one folder."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import torch
from gancore_training import image_format, sample, suffixes
from torch import Tensor

from gancore import GancoreError, Translator, __version__
from gancore.tools import GENERATOR, noise_for, toml, write_tensors, write_text, writing
from gancore_export.model_card import model_card, title, without_places
from gancore_export.noise_paths import OTHER, distribution
from gancore_export.programs import Program, lacking_for_onnx

if TYPE_CHECKING:
    from gancore.tools import Run

_CHECKED = 16
_STORED = 4096
"""Latents that are stored where what draws them is code of a plugin."""


@attrs.frozen
class Exported:
    """What an export wrote.

    Attributes:
        folder: Where.
        files: Names of the files.
        differences: Program -> largest difference of its images from the generator's, on the [-1, 1] scale.
        latents: ``normal``, ``uniform`` or ``stored``: what the script draws the latents from.
        without: Why something was left out, e.g. ONNX.
    """

    folder: Path
    files: list[str]
    differences: dict[str, float]
    latents: str
    without: str = ""


def export(run: Run, folder: Path, *, weights: str = "ema") -> Exported:
    """Write a run's generator, and what is needed to use it without gancore, to a new folder, all or nothing.

    That is ``generator.safetensors`` (the weights, from which other recipes can start too), ``generator.pt2`` (a program of
    `torch.export` for any number of images), ``generator.onnx`` where onnx and onnxscript are installed, ``generate.py`` (a
    script that needs torch alone), what it reads, ``README.md`` (a model card), ``recipe.toml`` and ``samples.png``.

    Args:
        run: The run; from `gancore_training.open_run`, ``bare`` will do.
        folder: A folder that is new or empty.
        weights: ``ema``, ``live``, or a further average of the recipe.

    Raises:
        GancoreError: There is no generator of latents, the folder holds files, the generator can't be exported, or a program's
            images are not its own to 1e-4.
    """
    generator = run.generator(weights)
    if isinstance(generator, Translator):
        raise GancoreError(
            f"the generator of {run.recipe.name} makes its images of others, and an export draws them from latents; use it by "
            "gancore, or load generator.safetensors of the run's weights."
        )
    with _new_folder(folder) as beside:
        exported = _export(run, beside, generator, weights)
    return attrs.evolve(exported, folder=folder, files=sorted(path.name for path in folder.iterdir()))


def _export(run: Run, folder: Path, generator: torch.nn.Module, weights: str) -> Exported:
    assert run.prior is not None
    drawn = run.latent(_CHECKED, "export")
    program = Program(generator, drawn.z, _varied(run, drawn.label))
    images = program.images()
    if not bool(images.isfinite().all()):
        raise GancoreError(f"{run.recipe.name}: what the generator makes is not finite; export an earlier checkpoint by --at.")
    differences = {"torch.export": program.write(folder / "generator.pt2")}
    missing = lacking_for_onnx()
    if not missing:
        differences["ONNX"] = program.write_onnx(folder / "generator.onnx")
    header = {"network": run.plan.networks[GENERATOR].full_name, "label": GENERATOR, "recipe": run.recipe.name}
    write_tensors(folder / "generator.safetensors", generator.state_dict(), {**header, "weights": weights})
    known = {"z": program.z, "label": program.label, "images": images}
    write_tensors(folder / "check.safetensors", known, {"made_by": f"gancore {__version__}"})
    kind = distribution(run.prior, noise_for(run.device, run.seed, "export", "kind"))
    if kind == OTHER:
        stored = run.latent(_STORED, "export", "stored")
        write_tensors(folder / "latents.safetensors", {"z": stored.z, "label": stored.label}, {})
    about = _about(run, program, "stored" if kind == OTHER else kind)
    write_text(folder / "generator.json", json.dumps(about, indent=2) + "\n")
    write_text(folder / "generate.py", Path(__file__).with_name("generate.py").read_text(encoding="utf-8"))
    write_text(folder / "recipe.toml", toml.dumps(without_places(run.recipe.table)))
    for suffix in suffixes(run.plan.registry)[:1]:
        pictures, _ = sample(run, 64, weights=weights)
        image_format(folder / f"samples.{suffix}", run.plan.registry)(pictures, folder / f"samples.{suffix}", columns=8)
    without = f"without ONNX, which needs {' and '.join(missing)}: pip install 'gancore-plugin-export[onnx]'" if missing else ""
    exported = Exported(folder, [path.name for path in folder.iterdir()], differences, about["latents"], without)
    write_text(folder / "README.md", model_card(run, about, exported.files, differences, weights))
    return exported


def _varied(run: Run, label: Tensor) -> Tensor:
    """Return the labels to compare programs by: each that occurs in turn, where any goes with any latents."""
    assert run.prior is not None
    values = run.batches.labels.values
    return values[torch.arange(len(label), device=values.device) % len(values)] if run.prior.any_label else label


def _about(run: Run, program: Program, latents: str) -> dict[str, Any]:
    """Return what the script has to know, as JSON holds it."""
    assert run.prior is not None
    info, labels = run.plan.info, run.batches.labels
    by_data = run.prior.labels == "data"
    return {
        "title": title(run),
        "latent_dim": program.z.shape[1],
        "latents": latents,
        "image": [info.channels, info.image_size, info.image_size],
        "group": run.plan.group,
        "classes": list(info.class_names) or [str(label) for label in range(info.classes or info.attributes)],
        "labels": {
            "heeded": program.heeds_labels,
            "any": run.prior.any_label,
            "values": labels.values.tolist(),
            "weights": labels.counts.tolist() if by_data else [1.0] * len(labels.counts),
        },
    }


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder beside another one, which takes its place when the block ends; after an error nothing is left."""
    remedy = "choose another --out"
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise GancoreError(f"{folder} holds other files; {remedy}, a new folder.")
    with writing(folder, remedy):
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name[:40]}."))
    try:
        yield beside
        with writing(folder, remedy):
            beside.chmod(0o755)
            beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
