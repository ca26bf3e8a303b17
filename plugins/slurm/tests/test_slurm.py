"""Jobs: submitted at once, asked again, warned, queued again, canceled; through submitit alone, and a stand-in of Slurm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from gancore_slurm import jobs, work
from gancore_slurm.work import Work
from gancore_training import checkpoint, entries
from gancore_training.lock import holder
from PIL import Image

from gancore.cli.main import main
from gancore.files.tensors import read_tensors

pytest.importorskip("submitit")

# The jobs outlive who submits them, as they should.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

RECIPE = """
[run]
iterations = {iterations}
batch_size = 8
latent_dim = 4
precision = "float32"
log_every = 1
sample_every = 0
checkpoint_every = 0
[data]
use = "standard/image-folder"
path = "./pictures"
image_size = 8
[networks.generator]
use = "standard/mlp-generator"
hidden = 8
[networks.discriminator]
use = "standard/mlp-discriminator"
hidden = 8
[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/hinge"
[losses.penalty]
use = "standard/gradient-penalty"
[optimizers.generator]
use = "adam"
[optimizers.discriminator]
use = "adam"
[networks.annotator]
use = "standard/small-cnn"
trained_by = "./annotator.toml"
[metrics.classes]
use = "standard/class-histogram"
[evaluation]
samples = 8
batch_size = 8
"""

ANNOTATOR = """
[run]
iterations = 1
batch_size = 4
[data]
use = "standard/image-folder"
path = "./pictures"
image_size = 8
[loop]
use = "standard/supervised"
[networks.classifier]
use = "standard/small-cnn"
[losses.loss]
use = "standard/cross-entropy"
"""


def until(what: Callable[[], Any], seconds: float = 120) -> Any:
    """Return what is true in the end."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.05)
    return value


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, where jobs run this code; whatever still runs is ended."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "annotator.toml").write_text(ANNOTATOR)
    # Jobs begin with them sooner than with a data set of scikit-learn.
    for at in range(12):
        file = tmp_path / "pictures" / ("train" if at % 3 else "test") / "ab"[at % 2] / f"{at}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 20 * at).save(file)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    before = {name: signal.getsignal(number) for name, number in (("TERM", signal.SIGTERM), ("USR2", signal.SIGUSR2))}
    yield tmp_path
    for name, handler in before.items():
        signal.signal(getattr(signal, f"SIG{name}"), handler)
    for file in tmp_path.glob("*/jobs/jobs.json"):
        for job in json.loads(file.read_text()):
            if job["cluster"] == "local" and jobs._local(file.parent, jobs.Job(**job)):
                os.kill(int(job["id"]), signal.SIGINT)


def run(*words: object) -> Result:
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


def test_jobs_are_submitted_at_once_asked_after_warned_and_queue_again(place: Path) -> None:
    (place / "long.toml").write_text(RECIPE.format(iterations=3000))
    words = ["ablate", "long.toml", "--seeds", 1, "--out", "out", "--on", "submitit:1", "--hours", 0.5]
    asked = run(*words)
    assert asked.exit_code == 0, asked.output
    assert "submitted 1 job: " in asked.output
    assert "2 runs: 2 waiting." in asked.output
    # Asked again, it tells how far they are, and submits no other.
    first = place / "out" / "whole-0"
    until(lambda: (first / "log.jsonl").exists() and holder(first))
    again = run(*words)
    assert again.exit_code == 0, again.output
    assert "submitted " not in again.output
    assert "jobs from before: 1 running" in again.output
    assert "2 runs: 1 running, 1 waiting." in again.output
    assert "  running: whole, seed 0: iteration " in again.output
    # The warning saves the run, and the job queues again and goes on with it.
    (job,) = json.loads((place / "out" / "jobs" / "jobs.json").read_text())
    told = place / "out" / "jobs" / f"{job['id']}_0_log.err"
    children = Path(f"/proc/{job['id']}/task/{job['id']}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGUSR2)
    until(lambda: queued_again(told) == 1)
    saved = int(checkpoint.checkpoints(first)[-1].stem)
    assert 0 < saved < 3000
    until(lambda: "going on after" in told.read_text())
    # So does SIGTERM.
    children = until(lambda: Path(f"/proc/{job['id']}/task/{job['id']}/children").read_text().split())
    until(lambda: holder(first) and entries(first / "log.jsonl")[-1]["iteration"] > saved)
    os.kill(int(children[0]), signal.SIGTERM)
    until(lambda: queued_again(told) == 2)
    assert saved < int(checkpoint.checkpoints(first)[-1].stem) < 3000


def queued_again(told: Path) -> int:
    """How often a job says that it has queued again."""
    return (told.with_suffix(".out").read_text() + told.read_text()).count("Requeued job")


def test_a_grid_by_jobs_is_that_of_one_process(place: Path) -> None:
    (place / "short.toml").write_text(RECIPE.format(iterations=3))
    asked = run("ablate", "short.toml", "--seeds", 1, "--out", "jobs", "--on", "submitit:2")
    assert "submitted 2 jobs: " in asked.output
    alone = run("ablate", "short.toml", "--seeds", 1, "--out", "alone")
    assert alone.exit_code == 0, alone.output
    until((place / "jobs" / "ablation.md").exists)
    again = run("ablate", "short.toml", "--seeds", 1, "--out", "jobs", "--on", "submitit:2")
    assert "The table is in" in again.output
    assert "jobs from before" not in again.output
    for one in (place / "alone").glob("*/weights/*.safetensors"):
        other = place / "jobs" / one.relative_to(place / "alone")
        tensors, others = read_tensors(one)[0], read_tensors(other)[0]
        assert all(tensors[name].equal(others[name]) for name in tensors), one
    assert (place / "alone" / "ablation.md").read_text() == (place / "jobs" / "ablation.md").read_text()


SBATCH = """#!{python}
import json, re, subprocess, sys, os
from pathlib import Path
text = Path(sys.argv[1]).read_text()
here = Path(__file__).parent
(here / "submitted.sh").write_text(text)
number = int(re.search("array=0-(\\\\d+)", text)[1]) + 1 if "array=" in text else 0
(here / "queue").write_text("".join(f"4711_{{k}} PENDING\\n" for k in range(number)) or "4711 PENDING\\n")
print("Submitted batch job 4711")
"""

SQUEUE = """#!{python}
from pathlib import Path
print((Path(__file__).parent / "queue").read_text(), end="")
"""


@pytest.fixture
def slurm(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of programs that stand in for Slurm's: they keep what is submitted, and tell a queue."""
    folder = place / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("srun", "#!{python}\n"), ("scontrol", "#!{python}\n")):
        (folder / name).write_text(text.format(python=sys.executable))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_slurm_is_told_what_was_asked_for_and_its_queue_is_read(place: Path, slurm: Path) -> None:
    (place / "short.toml").write_text(RECIPE.format(iterations=3))
    words = ["ablate", "short.toml", "--seeds", 2, "--out", "out", "--on", "slurm:3", "--gpus", 2, "--hours", 1.5]
    words += ["--partition", "gpu", "--job", "account=lab", "--job", "cpus-per-task=8"]
    asked = run(*words)
    assert asked.exit_code == 0, asked.output
    assert "submitted 3 jobs: 4711_0, 4711_1, 4711_2" in asked.output
    script = (slurm / "submitted.sh").read_text()
    wanted = ("partition=gpu", "gpus-per-node=2", "time=90", "account=lab", "cpus-per-task=8", "array=0-2%3", "signal=USR2@120")
    assert [option for option in wanted if f"#SBATCH --{option}\n" not in script] == []
    (slurm / "queue").write_text("4711_0 RUNNING\n4711_2 PENDING\n99 RUNNING\n")
    again = run(*words)
    assert "submitted 1 job: 4711" in again.output
    assert "jobs from before: 1 pending, 1 running" in again.output
    assert "--on slurm:3 --gpus 2 --hours 1.5 --partition gpu --job account=lab --job cpus_per_task=8" in again.output


def test_what_is_wrong_gets_a_sentence(place: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "short.toml").write_text(RECIPE.format(iterations=3))

    def refused(*words: object) -> str:
        done = run("ablate", "short.toml", "--seeds", 1, "--out", "out", *words)
        assert done.exit_code == 2, done.output
        return done.stderr

    assert "the executor submitit takes no partition" in refused("--on", "submitit", "--partition", "gpu")
    assert "no setting; write KEY=VALUE" in refused("--on", "slurm", "--job", "account")
    (slurm / "sbatch").write_text(
        f"#!{sys.executable}\nimport sys\nsys.exit('sbatch: error: invalid partition specified: gpu')\n"
    )
    assert "can't be submitted: sbatch: error: invalid partition" in refused("--on", "slurm", "--partition", "gpu")
    monkeypatch.setenv("PATH", str(place))
    assert "there is no Slurm on this machine" in refused("--on", "slurm")


def test_a_canceled_job_does_not_queue_again(place: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    monkeypatch.setattr(work, "_run", lambda _: work.STOPPED)
    for job, state, queues in (("7", "COMPLETING", False), ("7", "RUNNING", True), ("", "", True)):
        raised.clear()
        (slurm / "queue").write_text(state)
        monkeypatch.setenv("SLURM_JOB_ID", job)
        assert Work(("doctor",), str(place))() == work.STOPPED
        assert raised == ([signal.SIGUSR2] if queues else [])


def test_a_command_that_ends_by_itself_is_over(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "raise_signal", lambda _: pytest.fail("it queues again"))
    assert shutil.which("sbatch") is None
    assert Work(("--version",), str(place))() == 0
    assert Work(("ablate", "nothing.toml"), str(place))() == 2
