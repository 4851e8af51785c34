"""Training: it learns, it is exact, and a run killed at any moment continues bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.samples import cnn, go, images, spec, table
from tests.training.samples import mlp as network

from bedplate.core.errors import GateError, Interrupted, RunError
from bedplate.models import ImageInput, Outputs, TableInput, build
from bedplate.objectives import objectives
from bedplate.recipe.schema import EarlyStoppingSpec, Part
from bedplate.training import Run, TrainingData, train, weights_digest


def test_it_learns_and_keeps_the_best_epoch() -> None:
    run = go(network(), table(), spec(epochs=15))
    assert run.history[-1]["train_loss"] < 0.6 * run.history[0]["train_loss"]
    losses = [entry["validation_loss"] for entry in run.history]
    assert run.best_epoch == int(np.argmin(losses))
    assert weights_digest(dict(run.network.state_dict())) == weights_digest(run.best)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "linear", "one-cycle"])
def test_every_optimizer_and_schedule_learns(name: str, schedule: str) -> None:
    settings = spec(
        epochs=6,
        optimizer=Part(name=name, lr=0.05 if "d" not in name[0] and "a" not in name[0] else 0.01),
        schedule=Part(name=schedule),
    )  # type: ignore[call-arg]
    run = go(network(), table(), settings)
    assert run.history[run.best_epoch]["validation_loss"] < run.history[0]["validation_loss"] or run.best_epoch == 0
    assert min(entry["train_loss"] for entry in run.history) < run.history[0]["train_loss"]


def test_equal_seeds_give_equal_weights_and_others_do_not() -> None:
    one, two = (weights_digest(dict(go(network(), table(), spec()).network.state_dict())) for _ in range(2))
    other = weights_digest(dict(go(network(), table(), spec(), seed=6).network.state_dict()))
    assert one == two != other


@pytest.mark.parametrize("stop_after", [1, 5, 8, 13, 24])
def test_a_run_stopped_at_any_step_continues_bit_for_bit(tmp_path: Path, stop_after: int) -> None:
    whole = go(network(), table(), spec())
    path = tmp_path / "checkpoint.safetensors"

    class Stop(Exception):
        pass

    def stop(event: str, run: Run) -> None:
        if event == "step" and run.step == stop_after:
            run.save(path)
            raise Stop

    with pytest.raises(Stop):
        go(network(), table(), spec(), checkpoint=path, hooks=[stop])
    torch.manual_seed(99)
    np.random.seed(99)
    resumed = go(network(), table(), spec(), checkpoint=path, resume=True)
    assert weights_digest(dict(resumed.network.state_dict())) == weights_digest(dict(whole.network.state_dict()))
    assert [e["train_loss"] for e in resumed.history] == [e["train_loss"] for e in whole.history]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_run_stopped_in_mid_epoch_continues_bit_for_bit(tmp_path: Path) -> None:
    def compiled(**more: Any) -> Run:
        return go(cnn(), images(), spec(epochs=3, compile=True), **more)

    whole = compiled()
    path = tmp_path / "checkpoint.safetensors"

    class Stop(Exception):
        pass

    def stop(event: str, run: Run) -> None:
        if event == "step" and run.step == 9:
            run.save(path)
            raise Stop

    with pytest.raises(Stop):
        compiled(checkpoint=path, hooks=[stop])
    torch._dynamo.reset()  # the process that goes on has compiled nothing yet
    resumed = compiled(checkpoint=path, resume=True)
    assert weights_digest(dict(resumed.network.state_dict())) == weights_digest(dict(whole.network.state_dict()))


def test_a_checkpoint_of_other_conditions_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    go(network(), table(), spec(), checkpoint=path)
    with pytest.raises(RunError, match="another recipe"):
        go(network(), table(), spec(), checkpoint=path, resume=True, identity={"recipe": "other"})


def test_a_damaged_checkpoint_fails_loudly(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    go(network(), table(), spec(), checkpoint=path)
    data = bytearray(path.read_bytes())
    path.write_bytes(bytes(data[: len(data) // 2]))
    with pytest.raises(RunError, match="can't be read"):
        go(network(), table(), spec(), checkpoint=path, resume=True)


def test_early_stopping_stops() -> None:
    run = go(network(), table(), spec(epochs=200, early_stopping=EarlyStoppingSpec(patience=3)))
    assert run.stopped_early
    assert run.epoch - 1 - run.best_epoch == 3


def test_a_diverging_run_is_stopped_by_the_gate() -> None:
    with pytest.raises(GateError, match="diverged"):
        go(network(), table(), spec(optimizer=Part(name="sgd", lr=1e30), schedule=Part(name="constant")))  # type: ignore[call-arg]


def test_a_number_is_learnt_in_its_own_units() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(400, 2)).astype(np.float32)
    y = 1000 + 50 * x[:, 0].astype(float)
    net = build("linear", {}, TableInput(2, (), ((), ())), Outputs(None, float(y.mean()), float(y.std())), 0)
    data = TrainingData({"numeric": x[:300]}, y[:300], {"numeric": x[300:]}, y[300:])
    run = train(
        net,
        objectives.get("squared-error")(),
        data,
        spec(epochs=30, optimizer=Part(name="adamw", lr=0.05)),
        seed=0,
        select="loss",
        identity={},
    )
    assert run.history[-1]["validation_rmse"] < 5


def test_augmentation_differs_by_row_and_step() -> None:
    from bedplate.training import augments

    images = torch.zeros(64, 9, 9, 1, dtype=torch.uint8)
    images[:, 4, 4] = 255
    augment = augments.get("shift-flip")(shift=2)
    one = augment(images, torch.Generator().manual_seed(1))
    assert one.sum() == images.sum()
    assert len({tuple(torch.nonzero(row[:, :, 0])[0].tolist()) for row in one}) > 10
    assert not torch.equal(one, augment(images, torch.Generator().manual_seed(2)))
    assert torch.equal(one, augment(images, torch.Generator().manual_seed(1)))


def test_ctrl_c_saves_and_stops(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"

    def interrupt(event: str, run: Run) -> None:
        if event == "step" and run.step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        go(network(), table(), spec(), checkpoint=path, hooks=[interrupt])
    assert caught.value.exit_code == 130
    whole = go(network(), table(), spec())
    resumed = go(network(), table(), spec(), checkpoint=path, resume=True)
    assert weights_digest(dict(resumed.network.state_dict())) == weights_digest(dict(whole.network.state_dict()))


def test_images_keep_their_layout_through_the_network() -> None:
    inputs = ImageInput(8, 8, 1, (100.0,), (50.0,))
    net = build("cnn", {"widths": [8, 8], "dense": [8]}, inputs, Outputs(2), 0)
    seen: list[torch.Size] = []
    net.body.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape))
    net(torch.zeros(3, 8, 8, 1, dtype=torch.uint8))
    assert seen == [torch.Size([3, 1, 8, 8])]


@pytest.mark.slow
def test_a_process_killed_in_training_continues_bit_for_bit(tmp_path: Path) -> None:
    """kill -9 at three random moments, then --resume: the weights equal an uninterrupted run's."""
    settings = [
        "--set",
        "training.epochs=12",
        "training.checkpoint_seconds=0.05",
        "compression.methods=[]",
        "evaluation.baselines=false",
        "gate={}",
    ]

    def command(out: str, *more: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "bedplate",
            "train",
            "digits",
            "--out",
            str(tmp_path / out),
            "--json",
            *settings,
            *more,
        ]

    whole = subprocess.run(command("whole"), capture_output=True, text=True, check=True)
    digest = json.loads(whole.stdout)["training"]["weights_sha256"]
    draw = random.Random(0)
    killed = 0
    for _ in range(3):
        again = ["--resume"] if (tmp_path / "killed").exists() else []
        process = subprocess.Popen(command("killed", *again), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        checkpoint = tmp_path / "killed" / "train" / "checkpoint.safetensors"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.15))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed == 3
    done = subprocess.run(command("killed", "--resume"), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["training"]["weights_sha256"] == digest
