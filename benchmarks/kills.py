"""Ending work at random moments and going on: ``python -m benchmarks.kills``.

Trainings, trainings of what a recipe needs first, evaluations, ablations, universal perturbations and trainings in two
processes are ended by signals, a full disk or a folder that turns read-only. What the command then prints, or the command
itself with ``--resume``, goes on, and must end with the files of a run that was left alone: weights, logs, scores and pictures,
bit for bit, and no file beside them. Linux alone; of root the work loses the right to write where nobody may.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import os
import random
import re
import resource
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from gancore_training import entries

from gancore.tools import read_tensors, toml

PATIENCE = 300.0
"""Seconds after which a command that was told to stop, or goes on, counts as hanging."""

CLASSIFIER: dict[str, Any] = {
    "run": {"iterations": 200, "batch_size": 16, "precision": "float32", "log_every": 1, "checkpoint_every": 7},
    "data": {"use": "standard/digits"},
    "loop": {"use": "standard/supervised"},
    "networks": {"classifier": {"use": "standard/small-cnn", "width": 0.25}},
    "losses": {"cross_entropy": {"use": "standard/cross-entropy"}},
    "optimizers": {"classifier": {"use": "adam", "lr": 2e-3}},
}
GAME: dict[str, Any] = {
    "run": {
        "iterations": 300,
        "batch_size": 8,
        "latent_dim": 4,
        "precision": "float32",
        "log_every": 1,
        "sample_every": 25,
        "checkpoint_every": 7,
        "evaluate_every": 60,
    },
    "data": {"use": "standard/digits"},
    "networks": {
        "generator": {"use": "standard/mlp-generator", "hidden": 8},
        "discriminator": {"use": "standard/mlp-discriminator", "hidden": 8},
        "annotator": {"use": "standard/small-cnn", "width": 0.25, "trained_by": "classifier.toml"},
    },
    "heads": {"adversarial": {"use": "standard/linear"}},
    "losses": {"adversarial": {"use": "standard/hinge"}},
    "ema": {"decay": 0.9},
    "metrics": {"fid": {"use": "standard/fid"}, "classes": {"use": "standard/class-histogram"}},
    "evaluation": {"samples": 256, "batch_size": 64},
}


VICTIM = {**GAME["networks"]["annotator"], "channels": 1, "classes": 10, "image_size": 8, "inherits": []}


@attrs.frozen
class Work:
    """Something that is ended in between.

    Attributes:
        words: The command.
        settings: Further words that make it last where it is to be ended.
        first: Whether what is needed first is there already.
        processes: How many do it.
        resume: Whether the command goes on with ``--resume`` alone.
    """

    words: Sequence[str]
    settings: Sequence[str] = ()
    first: bool = True
    processes: int = 1
    resume: bool = True


def _set(*assignments: str) -> list[str]:
    return [word for assignment in assignments for word in ("--set", assignment)]


TRAIN = ["train", "game.toml", "--out", "out"]
ABLATE = ["ablate", "game.toml", "--drop", "ema", "--seeds", "1", "--out", "out"]
PERTURB = ["uap", "run", "uap/digits-prior", "--method", "uap/digits-direct", "--victim", "victim.toml", "--out", "out"]
SHORT = ["--target", "digits", "--epsilon", "16/255", "--method-set", "run.iterations=20", "--images", "30", "--cycles", "3"]
WORKS = {
    "training": Work(TRAIN),
    "what is needed first": Work(TRAIN, _set("run.iterations=8"), first=False),
    "evaluation": Work(TRAIN, _set("run.iterations=20", "run.evaluate_every=5", "evaluation.samples=20000")),
    "ablation": Work(ABLATE, _set("run.iterations=200"), resume=False),
    "perturbation": Work(PERTURB, [*SHORT, *_set("run.iterations=60", "run.checkpoint_every=15")], resume=False),
    "two processes": Work(TRAIN, _set("run.iterations=100"), processes=2),
}
PRELOADED = ("torch._dynamo", "sklearn.datasets", "scipy.linalg", "gancore.cli.main", "gancore_training.trainer")
"""What a fork need not import again, so that it is the work itself that is ended."""

SIGNALS = {name: getattr(signal, name) for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGUSR1")}
ENDS = (*SIGNALS, "full disk", "read-only folder")


@attrs.frozen
class Result:
    """How one trial went.

    Attributes:
        work: What was ended.
        end: By what.
        share: When, as a share of the time that it takes.
        ended: Exit status of each process that was ended; 0 where it had finished before.
        lost: Iterations that were in a log and in no checkpoint; None where there is none that was trained.
        problems: What was not as it should be; empty where all was.
    """

    work: str
    end: str
    share: float
    ended: tuple[int, ...]
    lost: int | None
    problems: tuple[str, ...]


def start(words: Sequence[str], folder: Path, processes: int = 1) -> list[int]:
    """Start gancore in a folder by a fork of this process, which has imported everything, and return its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    children = []
    for rank in range(processes):
        child = os.fork()
        if child:
            children.append(child)
            continue
        several = {"WORLD_SIZE": str(processes), "RANK": str(rank), "LOCAL_RANK": str(rank)}
        several |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({"GANCORE_CACHE": str(folder / "cache"), **(several if processes > 1 else {})})
        _work(words, folder, rank)
    return children


def _work(words: Sequence[str], folder: Path, rank: int) -> None:
    """Be gancore; never returns."""
    status = 1
    try:
        os.chdir(folder)
        told = os.open(folder / f"told-{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(told, 1)
        os.dup2(told, 2)
        _obeying()
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        from gancore.cli.main import main

        main(args=list(words), prog_name="gancore")
    except SystemExit as stopped:
        status = stopped.code if isinstance(stopped.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _obeying() -> None:
    """Give up root's right to pass over permissions: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_FOWNER."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    for each in range(3):  # effective, permitted, inheritable
        sets[each] &= ~0b1110
    libc.capset(header, sets)


def finished(children: Sequence[int], patience: float = PATIENCE) -> tuple[int, ...]:
    """Wait for processes, and return their exit statuses, negative for a signal; kill those that hang, with status 99."""
    statuses: dict[int, int] = {}
    until = time.monotonic() + patience
    while len(statuses) < len(children):
        for child in children:
            if child not in statuses:
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    statuses[child] = os.waitstatus_to_exitcode(status)
                elif time.monotonic() > until:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    statuses[child] = 99
        time.sleep(0.005)
    return tuple(statuses[child] for child in children)


def told(folder: Path) -> str:
    """Return what the last command said."""
    return "".join(path.read_text(errors="replace") for path in sorted(folder.glob("told-*")))


def prepared(folder: Path, first: Path | None = None) -> Path:
    """Make a folder to work in, perhaps with what is needed first."""
    folder.mkdir(parents=True)
    (folder / "classifier.toml").write_text(toml.dumps(CLASSIFIER))
    (folder / "game.toml").write_text(toml.dumps(GAME))
    (folder / "victim.toml").write_text(toml.dumps({"networks": {"classifier": VICTIM}}))
    if first is not None:
        shutil.copytree(first, folder / "cache")
    return folder


def files(folder: Path) -> dict[str, Any]:
    """Return every file of a folder's results by its path, but for what no two runs share: seconds, and where it lies."""
    paths = [path for top in ("out", "cache") for path in (folder / top).rglob("*") if not path.is_dir()]
    return {path.relative_to(folder).as_posix(): _content(path, folder) for path in sorted(paths)}


def _content(path: Path, folder: Path) -> Any:
    if path.suffix == ".safetensors":
        tensors, _ = read_tensors(path)
        return {name: (str(tensor.dtype), tensor.shape, tensor.numpy().tobytes()) for name, tensor in tensors.items()}
    if path.suffix == ".jsonl":
        return [_timeless(entry) for entry in entries(path)]
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text().replace(str(folder), "")))
    return path.read_bytes().replace(str(folder).encode(), b"")


def _timeless(value: Any) -> Any:
    """Return a table without times, and without the digest of a recipe, which tells where its files lie."""
    if isinstance(value, Mapping):
        unshared = "second|^digest$" if "recipe" in value else "second"
        return {key: _timeless(item) for key, item in value.items() if not re.search(unshared, key)}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def lost_iterations(folder: Path) -> int | None:
    """Return the most iterations that a log of a folder has beyond its run's newest checkpoint; None without a log."""
    lost = []
    for log in folder.rglob("log.jsonl"):
        saved = [int(path.stem) for path in log.parent.glob("checkpoints/[0-9]*.safetensors")]
        lost += [entries(log)[-1]["iteration"] - max(saved, default=0)] if entries(log) else []
    return max(lost, default=None)


def _writable(folder: Path, yes: bool) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755 if yes else 0o555)


def ended(work: Work, end: str, moment: float, folder: Path, rng: random.Random) -> tuple[int, ...]:
    """Do a work in a folder and end it after so many seconds; return the exit statuses."""
    children = start([*work.words, *work.settings], folder, work.processes)
    time.sleep(moment)
    if end in SIGNALS:
        for child in [rng.choice(children)] if end == "SIGKILL" else children:
            os.kill(child, SIGNALS[end])
    elif end == "full disk":
        most = rng.choice([0, 200, 3000])
        for child in children:
            resource.prlimit(child, resource.RLIMIT_FSIZE, (most, most))
    else:
        _writable(folder, False)
    statuses = finished(children)
    _writable(folder, True)
    return statuses


def going_on(work: Work, folder: Path) -> list[str]:
    """Return the words that go on: those that were printed, or the same with ``--resume``."""
    printed = re.findall(r"^Saved\. To go on.*?: gancore (.*)$", told(folder), re.MULTILINE)
    if printed:
        return shlex.split(printed[-1])
    return [*work.words, *work.settings, *(["--resume"] if work.resume else [])]


def trial(name: str, end: str, share: float, whole: Mapping[str, Any], seconds: float, folder: Path, first: Path) -> Result:
    """End a work at a share of its time, go on, and compare."""
    work, rng = WORKS[name], random.Random(f"{name} {end} {share}")
    prepared(folder, first if work.first else None)
    statuses = ended(work, end, share * seconds, folder, rng)
    problems = [*_wrong_words(told(folder)), *(["it hangs"] if 99 in statuses else [])]
    most = 7 if "perturbation" not in name else 20  # its classifier has checkpoints of its own
    lost = lost_iterations(folder)
    if lost is not None and lost > most:
        problems.append(f"{lost} iterations are lost")
    if any(statuses):
        again = finished(start(going_on(work, folder), folder, work.processes))
        problems += _wrong_words(told(folder))
        if any(again):
            problems.append(f"it did not go on: {told(folder).strip().splitlines()[-1:]}")
    problems += differences(whole, files(folder))
    return Result(name, end, share, statuses, lost, tuple(problems))


def _wrong_words(text: str) -> list[str]:
    return [f"it says {word!r}" for word in ("Traceback", "Exception ignored") if word in text]


def differences(whole: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield in which files two folders differ."""
    for path in sorted({*whole, *now}):
        if path not in now:
            yield f"{path} is missing"
        elif path not in whole:
            yield f"{path} is litter"
        elif whole[path] != now[path]:
            yield f"{path} differs"


def reference(name: str, folder: Path, first: Path | None) -> tuple[dict[str, Any], float]:
    """Do a work undisturbed; return its files, and the seconds that it took."""
    work = WORKS[name]
    prepared(folder, first if work.first else None)
    begun = time.monotonic()
    statuses = finished(start([*work.words, *work.settings], folder, work.processes), 10 * PATIENCE)
    if any(statuses):
        raise SystemExit(f"{name} fails:\n{told(folder)}")
    return files(folder), time.monotonic() - begun


def run(
    works: Sequence[str], ends: Sequence[str], trials: int, seed: int, work_in: Path, say: Callable[[str], Any]
) -> list[Result]:
    """End each work by each end in turn, so many times in all."""
    for module in PRELOADED:
        importlib.import_module(module)
    rng, results = random.Random(seed), []
    wholes: dict[str, tuple[dict[str, Any], float]] = {}
    first = work_in / "first" / "cache"
    if any(WORKS[name].first for name in works):
        reference("what is needed first", first.parent, None)
    for number in range(trials):
        name, end = works[number % len(works)], ends[number // len(works) % len(ends)]
        if name not in wholes:
            wholes[name] = reference(name, work_in / name.replace(" ", "-"), first)
        share = rng.uniform(0.02, 0.98)
        results.append(trial(name, end, share, *wholes[name], work_in / f"trial-{number}", first))
        say(f"{number + 1:3} {name}, {end} at {share:.0%}: {'; '.join(results[-1].problems) or 'right'} {results[-1].ended}")
        shutil.rmtree(work_in / f"trial-{number}")
    return results


def table(results: Sequence[Result]) -> str:
    """Return how many trials of each work were right, and the most iterations lost."""
    rows = []
    for name in dict.fromkeys(result.work for result in results):
        own = [result for result in results if result.work == name]
        right = sum(not result.problems for result in own)
        ends = Counter("finished before" if not any(each.ended) else "ended" for each in own)
        lost = max((result.lost or 0 for result in own), default=0)
        rows.append([name, str(len(own)), str(ends["finished before"]), str(right), str(lost)])
    rows.insert(0, ["work", "trials", "finished before", "right", "most iterations lost"])
    return "\n".join("  ".join(cell.ljust(22) for cell in row).rstrip() for row in rows)


def main() -> None:
    """Run the trials and print what they showed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--works", nargs="*", choices=WORKS, default=list(WORKS))
    parser.add_argument("--ends", nargs="*", choices=ENDS, default=list(ENDS))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        results = run(chosen.works, chosen.ends, chosen.trials, chosen.seed, Path(folder), print)
    print(table(results))
    sys.exit(any(result.problems for result in results))


if __name__ == "__main__":
    main()
