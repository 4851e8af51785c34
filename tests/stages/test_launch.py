"""Training by several workers, from the command line: it recovers, stops, continues, and leaves no process behind."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bedplate.cli.main import build_parser
from bedplate.cli.run import overrides_of
from bedplate.core.errors import InputError, RecipeError
from bedplate.models import Outputs, TableInput, build
from bedplate.pipeline import run_stage
from bedplate.recipe.load import parse
from bedplate.recipe.schema import TrainingSpec, WorkersSpec
from bedplate.stages.job import Job
from bedplate.stages.launch import command, environment, notes, several, workers_of

NO_RAY = importlib.util.find_spec("ray") is None or importlib.util.find_spec("pandas") is None
needs_ray = pytest.mark.skipif(NO_RAY, reason='needs Ray Train: pip install "bedplate[cluster]"')

SETTINGS = [
    "training.epochs=12",
    "training.checkpoint_seconds=0.3",
    "training.schedule.name=constant",
    "training.early_stopping=null",
]


def start(out: Path, *more: str, settings: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start `bedplate train digits` with two workers."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "bedplate", "train", "digits", "--json", "--out", str(out)),
            *("--workers", "2", *more, "--set", *SETTINGS, *settings),
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str], code: int = 0) -> tuple[dict[str, Any], str]:
    """Wait for the end and return the figures and what was said."""
    try:
        out, said = process.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        process.terminate()
        out, said = process.communicate(timeout=100)
    assert process.returncode == code, f"{out}\n{said}"
    return json.loads(out), said


def of_job(out: Path) -> list[int]:
    """Return the processes whose command line names the run's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if str(out).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def workers_in(out: Path) -> list[int]:
    """Return the workers' processes."""
    found = []
    for pid in of_job(out):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"bedplate.stages.worker" in words and b"torch.distributed.run" not in words:
                found.append(pid)
    return found


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait for a condition and return what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
    return found


def trained(out: Path, epochs: int) -> bool:
    """Return whether the workers have told of so many epochs."""
    path = out / "train" / "job" / "progress.jsonl"
    return path.exists() and path.read_text().count('"event": "epoch"') >= epochs


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """A run's folder, after which no process is left."""
    yield tmp_path / "run"
    until(lambda: not of_job(tmp_path / "run"), 20)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two workers come to that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    figures, said = finish(start(folder))
    assert "2 workers (torchrun)" in said
    assert figures["training"]["restarts"] == 0
    left = sorted(path.name for path in (folder / "train").iterdir())
    assert "job" not in left
    assert "workers.log" not in left
    return figures


@pytest.mark.slow
def test_a_worker_killed_in_training_is_started_again_and_the_weights_are_the_same(
    undisturbed: dict[str, Any], out: Path
) -> None:
    process = start(out)
    until(lambda: trained(out, 3))
    os.kill(workers_in(out)[1], signal.SIGKILL)
    figures, said = finish(process)
    assert figures["training"]["restarts"] == 1
    assert "restart 1 of at most 3" in said
    assert "lost 1 time" in said
    assert figures["training"]["weights_sha256"] == undisturbed["training"]["weights_sha256"]
    assert said.count("epoch   3/12") <= 1, "an epoch is told once"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_ends_all_workers_and_resume_continues_bit_for_bit(
    undisturbed: dict[str, Any], out: Path, number: signal.Signals
) -> None:
    process = start(out)
    until(lambda: trained(out, 2))
    process.send_signal(number)
    told, _ = finish(process, code=130)
    assert told["error"] == "stopped by the user"
    assert not of_job(out)
    assert not (out / "train" / "job").exists()
    figures, said = finish(start(out, "--resume"))
    assert "continuing from checkpoint" in said
    assert "epoch   1/12" not in said
    assert figures["training"]["weights_sha256"] == undisturbed["training"]["weights_sha256"]


@pytest.mark.slow
def test_when_the_parent_is_killed_the_workers_end_and_resume_continues(undisturbed: dict[str, Any], out: Path) -> None:
    process = start(out)
    until(lambda: trained(out, 2))
    process.kill()
    process.communicate()
    told, _ = finish(start(out, "--resume", "--workers", "3"), code=2)
    assert told["error"] == "this run was started with another number of workers"
    assert "--workers 2" in told["hint"]
    figures, _ = finish(start(out, "--resume"))  # while the others may still be at work
    assert figures["training"]["weights_sha256"] == undisturbed["training"]["weights_sha256"]


@pytest.mark.slow
def test_too_many_lost_workers_are_an_error_and_the_checkpoint_stays(undisturbed: dict[str, Any], out: Path) -> None:
    process = start(out, settings=("training.workers.restarts=0",))
    until(lambda: trained(out, 2))
    os.kill(workers_in(out)[0], signal.SIGKILL)
    told, said = finish(process, code=2)
    assert "the workers were lost" in told["error"]
    assert "0 of at most 0 restarts" in told["received"]
    assert "SIGKILL" in told["received"]
    assert "--resume" in told["hint"]
    assert "Traceback" not in said
    figures, _ = finish(start(out, "--resume"))
    assert figures["training"]["weights_sha256"] == undisturbed["training"]["weights_sha256"]


@pytest.mark.slow
def test_when_torchrun_is_killed_no_worker_goes_on(out: Path) -> None:
    process = start(out)
    until(lambda: trained(out, 1))
    os.kill(next(pid for pid in of_job(out) if pid not in workers_in(out) and pid != process.pid), signal.SIGKILL)
    told, _ = finish(process, code=2)
    assert "SIGKILL" in told["error"]
    until(lambda: not of_job(out), 5)


def test_what_a_new_start_would_not_mend_is_told_at_once(out: Path) -> None:
    process = start(out, settings=("training.optimizer.lr=1e30", "training.optimizer.name=sgd"))
    told, said = finish(process, code=1)
    assert "diverged" in told["error"]
    assert "lower training.optimizer.lr" in told["hint"]
    assert "restart" not in said


@pytest.mark.slow
def test_a_fault_in_a_plug_in_is_told_with_its_line(tmp_path: Path) -> None:
    plugin = tmp_path / "bad.py"
    plugin.write_text(
        "from torch import nn\n"
        "from bedplate.models import models\n"
        "class Bad(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Linear(64, 10)\n"
        "    def forward(self, image):\n"
        "        if self.training and image.shape[0] == 8:\n"
        "            raise ValueError('eight')\n"
        "        return self.layer(image.flatten(1))\n"
        "@models.register('bad-of-the-tests')\n"
        "def bad(inputs, outputs): return Bad()\n"
    )
    process = start(
        tmp_path / "run",
        settings=(f"plugins=[{plugin}]", "model={name: bad-of-the-tests}", "training.batch_size=16"),
    )
    told, said = finish(process, code=1)
    assert "eight" in told["received"]
    assert "bad.py:9" in told["where"]
    assert "restart" not in said


@needs_ray
@pytest.mark.slow
def test_ray_ends_as_torchrun_does_and_recovers(undisturbed: dict[str, Any], out: Path) -> None:
    figures, said = finish(start(out, "--on", "ray"))
    assert "2 workers (ray)" in said
    assert figures["training"]["weights_sha256"] == undisturbed["training"]["weights_sha256"]


@pytest.mark.skipif(not NO_RAY, reason="Ray is installed")
def test_without_ray_the_line_to_type_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not installed.*bedplate\[cluster\]"):
        run_stage("train", "wine", tmp_path / "run", mode="new", overrides=["training.workers={count: 2, engine: ray}"])


def test_an_address_is_rays_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an address is Ray's"):
        run_stage(
            "train", "wine", tmp_path / "run", mode="new", overrides=["training.workers={count: 2, address: x:1}"]
        )


def test_who_trains() -> None:
    assert not several(TrainingSpec())
    assert several(TrainingSpec(workers=2))  # type: ignore[arg-type]
    assert several(TrainingSpec(workers=WorkersSpec(engine="ray")))
    assert not several(TrainingSpec(workers=2, epochs=0))  # type: ignore[arg-type]
    assert workers_of(TrainingSpec()) == ""
    assert "2 workers" in workers_of(TrainingSpec(workers=2))  # type: ignore[arg-type]


def test_batch_normalisation_is_noted() -> None:
    inputs = TableInput(4, (), ((),) * 4)
    spec = TrainingSpec(workers=2)  # type: ignore[arg-type]
    plain, normed = (build("mlp", {"batch_norm": norm}, inputs, Outputs(2), 0) for norm in (False, True))
    assert notes(plain, spec) == []
    assert "each worker's own rows" in notes(normed, spec)[0]
    assert notes(normed, TrainingSpec()) == []


def test_the_engines_command_lines(tmp_path: Path) -> None:
    words = command(Job(tmp_path), WorkersSpec(count=3, restarts=5))
    assert words[words.index("--nproc-per-node") + 1] == "3"
    assert words[words.index("--max-restarts") + 1] == "5"
    assert "bedplate.stages.ray_engine" in command(Job(tmp_path), WorkersSpec(engine="ray"))
    assert environment(2, WorkersSpec(engine="ray"))["RAY_USAGE_STATS_ENABLED"] == "0"
    assert environment(2, WorkersSpec())["OMP_NUM_THREADS"] == "2"


def test_a_number_stands_for_so_many_workers_and_keeps_what_is_set_beside_it() -> None:
    text = "name: a\ntask: image-classification\ndata: {source: digits}\ntraining: {workers: 2}\n"
    assert parse(text).training.workers == WorkersSpec(count=2)
    found = parse(text, overrides=["training.workers.engine=ray", "training.workers.restarts=0"]).training.workers
    assert found == WorkersSpec(count=2, engine="ray", restarts=0)
    assert parse(text, overrides=["training.workers=4"]).training.workers.count == 4
    with pytest.raises(RecipeError, match=r"training\.workers.*greater than or equal to 1"):
        parse(text, overrides=["training.workers=0"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {}),
        (["--workers", "3"], {"count": 3}),
        (["--on", "ray"], {"count": 2, "engine": "ray"}),
        (
            ["--on", "ray://10.0.0.1:6379", "--workers", "4"],
            {"count": 4, "engine": "ray", "address": "ray://10.0.0.1:6379"},
        ),
        (["--on", "local"], {"count": 1}),
    ],
)
def test_the_command_line_overrides_the_recipe(words: list[str], expected: dict[str, Any]) -> None:
    text = "name: a\ntask: image-classification\ndata: {source: digits}\ntraining: {workers: {count: 2, restarts: 7}}\n"
    arguments = build_parser().parse_args(["run", "a", *words])
    found = parse(text, overrides=overrides_of(arguments)).training.workers
    assert found == WorkersSpec(**{"count": 2, "restarts": 7, **expected})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--on", "torchrum"], "did you mean 'torchrun'"),
        (["--on", "torchrun://x"], "no such engine"),
        (["--workers", "0"], "1 or more"),
        (["--workers", "two"], "1 or more"),
        (["--on", "local", "--workers", "2"], "this process alone"),
    ],
)
def test_wrong_words_on_the_command_line_are_told(words: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        overrides_of(build_parser().parse_args(["run", "a", *words]))
