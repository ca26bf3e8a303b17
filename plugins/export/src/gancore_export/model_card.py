"""The model card of an export: what the generator is, how it was trained and scored, whom to cite. Markdown for any reader."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import torch
from gancore_training import RunFolder, entries

from gancore import __version__
from gancore.tools import GENERATOR, plain, toml

if TYPE_CHECKING:
    from gancore.tools import Run

_HEADER = "---\nlibrary_name: pytorch\ntags: [gan, gancore, image-generation, pytorch]\n---"

_PAPERS = {
    r"arXiv:(\d{4}\.\d{4,5})": "https://arxiv.org/abs/",
    r"OpenReview:([\w-]{6,20})": "https://openreview.net/forum?id=",
}
"""Names of papers that have an address -> what its address begins with."""

_FILES = {
    "generator.pt2": "the generator as a program of `torch.export`, for any number of images",
    "generator.onnx": "the same in ONNX",
    "generator.safetensors": "its weights; a gancore recipe can start from them (`networks.generator.weights`)",
    "generate.py": "draws latents and writes images; needs torch alone",
    "generator.json": "what `generate.py` has to know",
    "latents.safetensors": "drawn latents, for what draws them is code",
    "check.safetensors": "latents with the images that gancore makes of them, for `generate.py --check`",
    "recipe.toml": "the recipe that it was trained by",
    "samples.png": "samples",
}


def without_places(table: Any) -> Any:
    """Return a recipe's table in which paths of the machine that trained it are cut to their last names."""
    if isinstance(table, Mapping):
        return {key: without_places(value) for key, value in table.items()}
    if isinstance(table, list):
        return [without_places(value) for value in table]
    if isinstance(table, str) and re.match(r"[/~\\]|[A-Za-z]:[/\\]", table):
        return PurePath(table.replace("\\", "/")).name
    return table


def title(run: Run) -> str:
    """Return what a run's recipe was called when it was trained: an installed recipe's name, or a file's without its folder."""
    name = ""
    if run.folder is not None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            name = str(json.loads(RunFolder(run.folder).environment.read_text(encoding="utf-8")).get("recipe_name") or "")
    name = plain(name or run.recipe.name)[:200]
    return PurePath(without_places(name)).stem if name.endswith(".toml") else name


def escaped(text: object) -> str:
    """Return a stranger's text as Markdown shows it and nothing else."""
    return re.sub(r"([\\`*_{}\[\]<>()#!|~&])", r"\\\1", plain(str(text)))


def fenced(text: str, language: str = "") -> str:
    """Return a text in a block of code that it can't end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def model_card(run: Run, about: Mapping[str, Any], files: Sequence[str], differences: Mapping[str, float], weights: str) -> str:
    """Return the text of a model card.

    Args:
        run: The run.
        about: What `generate.py` has to know.
        files: Names of the files beside the card.
        differences: Program -> largest difference of its images from the generator's.
        weights: Which weights of the generator they are.
    """
    sections = [
        _HEADER,
        f"# {escaped(about['title'])}\n\n{_what(run, about, weights)}",
        "![Samples](samples.png)" if "samples.png" in files else "",
        _usage(about, files, differences),
        _scores(run),
        _training(run),
        _citations(run),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _what(run: Run, about: Mapping[str, Any], weights: str) -> str:
    channels, height, width = about["image"]
    labels = about["labels"]
    classes = f" of {len(about['classes'])} classes" if labels["heeded"] and run.plan.info.classes else ""
    average = f"{escaped(weights)} weights" if weights == "live" or run.average is not None else "weights"
    parameters = sum(value.numel() for value in run.generator(weights).parameters())
    return (
        f"A generator (`{plain(run.plan.networks[GENERATOR].full_name)}`, {parameters:,} parameters) of images{classes} with "
        f"{channels} {'channel' if channels == 1 else 'channels'} and {height} x {width} pixels, trained by gancore "
        f"{escaped(__version__)} for {run.iteration:,} iterations; these are its {average}."
    )


def _usage(about: Mapping[str, Any], files: Sequence[str], differences: Mapping[str, float]) -> str:
    named = "\n".join(f"- `{name}`: {what}" for name, what in _FILES.items() if name in files)
    heeded, wide, classes = about["labels"]["heeded"], about["latent_dim"], len(about["classes"])
    of_attributes = isinstance(about["labels"]["values"][0], list)
    label = f"torch.randint(2, (16, {classes}))" if of_attributes else f"torch.arange(16) % {classes}"
    arguments = f"torch.randn(16, {wide}), {label}" if heeded else f"torch.randn(16, {wide})"
    if about["latents"] != "normal" or not about["labels"]["any"]:
        arguments = "z, label" if heeded else "z"
    code = (
        'import torch\n\ngenerator = torch.export.load("generator.pt2").module()\n'
        f"images = generator({arguments})  # (N, {', '.join(map(str, about['image']))}) in [-1, 1]"
    )
    checked = ", ".join(f"{program} {value:.1e}" for program, value in differences.items())
    kinds = {
        "normal": "standard normal",
        "uniform": "uniform on [-1, 1]",
        "stored": "drawn from those in `latents.safetensors`, for code draws them in training",
    }
    return (
        f"## Use\n\ngancore is not needed.\n\n{fenced('python generate.py --n 64 --out images.png', 'sh')}\n\n"
        f"{fenced(code, 'python')}\n\nLatents are {kinds[about['latents']]}. When this was written, images of the programs "
        f"differed from the generator's by at most ({checked}) on the [-1, 1] scale; `python generate.py --check` compares "
        f"them again on your machine.\n\n{named}"
    )


def _scores(run: Run) -> str:
    """Return the newest scores of the run's iteration with their protocols."""
    newest: dict[str, tuple[Any, str, Any]] = {}
    folder = None if run.folder is None else RunFolder(run.folder)
    for entry in () if folder is None else entries(folder.scores):
        tables = [entry.get(key) for key in ("scores", "protocols", "better")]
        values, known, better = (table if isinstance(table, dict) else {} for table in tables)
        for name, value in values.items() if entry["iteration"] == run.iteration else ():
            if isinstance(value, int | float):
                newest[str(name)] = value, str(better.get(name, "")), known.get(str(name).split("/")[0])
    if not newest:
        return "## Scores\n\nThis iteration was not scored."
    lines = ["| score | value | better | protocol |", "|---|---|---|---|"]
    protocols = {}
    for name, (value, direction, protocol) in newest.items():
        told = protocol if isinstance(protocol, dict) else {}
        lines.append(f"| {escaped(name)} | {value:.4g} | {escaped(direction)} | {escaped(told.get('id', 'unknown'))} |")
        protocols[str(told.get("id", "unknown"))] = told
    text = fenced("\n".join(json.dumps({name: protocol}) for name, protocol in protocols.items()), "json")
    return "## Scores\n\n" + "\n".join(lines) + f"\n\nValues compare only where their protocols are the same.\n\n{text}"


def _training(run: Run) -> str:
    info, declared = run.plan.info, run.recipe.entries["data", "data"].declared
    # Of the class, for a run that is opened without its images has none of its own.
    license_of = (
        getattr(run.plan.registry.load(declared), "license", "") or "not known to gancore; ask who publishes the images"
    )
    names = ", ".join(map(escaped, info.class_names[:20])) + (" and more" if len(info.class_names) > 20 else "")
    number = int(sum(run.batches.class_counts)) if info.classes else None
    data = [
        f"- Images: `{plain(declared.full_name)}`, {escaped(declared.summary)}" + (f"; {number:,} took part" if number else ""),
        f"- License of the images: {escaped(license_of)}",
        *([f"- {'Classes' if info.classes else 'Attributes'}: {names}"] if names else []),
        f"- Computed in {run.precision}, by torch {escaped(torch.__version__)} where it was exported",
    ]
    recipe = fenced(toml.dumps(without_places(run.recipe.table)), "toml")
    return "## Training\n\n" + "\n".join(data) + f"\n\n{recipe}"


def _citations(run: Run) -> str:
    papers = [f"- {_paper(paper)}" for paper in run.recipe.cites]
    return "## Cite\n\n" + "\n".join(papers) if papers else ""


def _paper(paper: str) -> str:
    for form, address in _PAPERS.items():
        match = re.fullmatch(form, paper)
        if match:
            return f"[{paper}]({address}{match[1]})"
    return escaped(paper)
