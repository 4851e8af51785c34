"""Train from shards of several GB: resident memory, and rows a second beside rows in memory.

    python -m benchmarks.streams [--gigabytes 4.2] [--minutes 8] [--rounds 9] [--steps 84]

Shards of 28x28 grey images are generated in the system's temporary folder (and removed): Parquet of raw pixels, and
smaller sets of WebDataset tars of arrays and of PNGs. Their pages are dropped from the file cache first, so that they
are read from the disk. Each measurement is a process of its own: training on the stream through `train` for so many
minutes (the CNN, and a linear model, which is fast enough to see every row), with its peak of resident memory; one
whole pass over the order without training; and steps on the stream and on rows in memory, in turns. A turn takes
about two windows (of 4 MiB there), and waits for the thread that fills the next one, so the stream pays for all that
it decodes. The figures go to `benchmarks/results/streams.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.core.machine import describe

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "streams.json"
PIXELS = 28 * 28
SHARD_ROWS, GROUP_ROWS = 200_000, 2_000
TAR_ROWS = 60_000

CNN = "{name: cnn, widths: [32, 64, 64], dense: [64]}"
RECIPE = """\
name: streams
task: image-classification
data:
  files: {{train: "{kind}/train-*.{ending}", validation: {kind}/validation.{ending}, test: {kind}/test.{ending}}}
  stream: {{window_mib: {window}}}
  image: {{height: 28, width: 28}}
model: {model}
training:
  epochs: 1
  batch_size: {batch}
  precision: bf16
  memory_format: channels_last
  compile: false
  device: cpu
"""


def images(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return grey images [rows, 784] of ten kinds under noise, which no compression makes small, and their classes."""
    draw = np.random.default_rng(seed)
    kinds = np.random.default_rng(0).integers(0, 256, (10, 7, 7)).repeat(4, 1).repeat(4, 2).reshape(10, PIXELS)
    classes = draw.integers(0, 10, rows)
    noise = draw.integers(0, 128, (rows, PIXELS), dtype=np.uint8)
    return (kinds[classes].astype(np.uint8) >> 1) + noise, classes


def write_parquet(path: Path, rows: int, seed: int) -> None:
    """Write one shard of raw pixels."""
    import pyarrow
    import pyarrow.parquet

    pixels, classes = images(rows, seed)
    column = pyarrow.FixedSizeBinaryArray.from_buffers(pyarrow.binary(PIXELS), rows, [None, pyarrow.py_buffer(pixels)])
    table = pyarrow.table({"image": column, "label": classes})
    pyarrow.parquet.write_table(table, path, row_group_size=GROUP_ROWS, compression="none", use_dictionary=False)


def write_tar(path: Path, rows: int, seed: int, *, raw: bool = False) -> None:
    """Write one tar of PNGs (or arrays) and classes."""
    from PIL import Image

    pixels, classes = images(rows, seed)
    with tarfile.open(path, "w") as archive:
        for row in range(rows):
            file = io.BytesIO()
            if raw:
                np.save(file, pixels[row].reshape(28, 28))
            else:
                Image.fromarray(pixels[row].reshape(28, 28)).save(file, "PNG", compress_level=1)
            for ending, data in (("npy" if raw else "png", file.getvalue()), ("cls", str(classes[row]).encode())):
                member = tarfile.TarInfo(f"{row:06d}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def generate(folder: Path, gigabytes: float) -> None:
    """Write both sets of shards and their recipes."""
    for kind, ending, write in (
        ("raw", "parquet", write_parquet),
        ("png", "tar", write_tar),
        ("npy", "tar", partial(write_tar, raw=True)),
    ):
        (folder / kind).mkdir()
        shards = int(np.ceil(gigabytes * 1e9 / PIXELS / SHARD_ROWS)) if kind == "raw" else 3
        for k in range(shards):
            write(folder / kind / f"train-{k:03d}.{ending}", SHARD_ROWS if kind == "raw" else TAR_ROWS // 3, k + 3)
        for k, split in enumerate(("validation", "test")):
            write(folder / kind / f"{split}.{ending}", 2_000, k + 1)
        for name, window, model, batch in (
            (kind, 64, CNN, 128), (f"{kind}-turns", 4, CNN, 128), (f"{kind}-linear", 64, "{name: linear}", 1024),
        ):  # fmt: skip
            text = RECIPE.format(kind=kind, ending=ending, window=window, model=model, batch=batch)
            (folder / f"{name}.yaml").write_text(text)


def drop_cached(folder: Path) -> None:
    """Have the system forget the shards' pages, so that they are read from the disk."""
    for path in folder.rglob("train-*"):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def memory(key: str) -> float:
    """Return a figure of this process's memory (VmHWM is the peak of resident memory, VmRSS the present) in MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


class _Setup:
    """A recipe's data and its fresh network, as the training stage has them."""

    def __init__(self, recipe: Path) -> None:
        from bedplate.core.console import Console
        from bedplate.objectives import objectives
        from bedplate.stages.data import load_data
        from bedplate.stages.folder import RunFolder
        from bedplate.stages.resolve import resolve
        from bedplate.stages.train import training_data
        from bedplate.stages.work import Work

        resolved = resolve(str(recipe))
        self.dataset = load_data(resolved, Console(quiet=True))
        self.work = Work(resolved, self.dataset, RunFolder(recipe.parent / "run"), Console(quiet=True))
        self.data = training_data(self.work)
        self.objective = objectives.get("cross-entropy")()
        self.spec = resolved.recipe.training


def train_for(recipe: Path, seconds: float) -> dict[str, Any]:
    """Train on the stream with the real loop; return rows, rows a second, and resident memory over time."""
    from bedplate.core.errors import Interrupted
    from bedplate.stages.process import configured_torch
    from bedplate.training import Run, train

    setup = _Setup(recipe)
    started = time.perf_counter()
    trace: list[list[float]] = []
    steps, batch = 0, int(setup.spec.batch_size)

    def watch(event: str, run: Run) -> None:
        nonlocal steps
        steps += event == "step"
        past = time.perf_counter() - started
        if past >= len(trace) * 15:
            trace.append([round(past), steps * batch, round(memory("VmRSS"))])
        if past >= seconds:
            raise Interrupted("long enough")

    with configured_torch(setup.work.threads), contextlib.suppress(Interrupted):
        train(
                setup.work.build(), setup.objective, setup.data, setup.spec,
                seed=0, select="accuracy", identity={}, hooks=[watch],
            )  # fmt: skip
    past = time.perf_counter() - started
    rows = min(steps * batch, len(setup.data))
    return {
        "rows": rows, "of_rows": len(setup.data), "share": round(rows / len(setup.data), 4),
        "seconds": round(past, 1), "rows_per_second": round(rows / past, 1),
        "peak_resident_mib": round(memory("VmHWM")), "resident_mib_over_time": trace,
    }  # fmt: skip


def pass_over(recipe: Path) -> dict[str, Any]:
    """Read a whole epoch's order without training."""
    data = _Setup(recipe).data
    assert data.stream is not None
    started = time.perf_counter()
    for start in range(0, len(data), 128):
        data.stream.batch(0, 0, start, min(start + 128, len(data)))
    past = time.perf_counter() - started
    return {
        "rows": len(data), "seconds": round(past, 1), "rows_per_second": round(len(data) / past),
        "peak_resident_mib": round(memory("VmHWM")),
    }  # fmt: skip


def in_turns(recipe: Path, rounds: int, steps: int) -> dict[str, Any]:
    """Take steps on the stream and on rows in memory in turns; return each one's median rows a second and the ratio."""
    import torch

    from bedplate.stages.process import configured_torch
    from bedplate.training.batches import Batches, Resident, Streamed
    from bedplate.training.execution import execution_of, plain
    from bedplate.training.run import Run
    from bedplate.training.schedules import schedules
    from bedplate.training.updates import Machinery, make_optimizers, steps_per_epoch

    setup = _Setup(recipe)
    spec = plain(setup.spec)
    assert setup.data.stream is not None
    features, targets = setup.data.stream.batch(0, 0, 0, min(60_000, len(setup.data)))
    with configured_torch(setup.work.threads):
        contestants: dict[str, tuple[Machinery, Run]] = {}
        for name in ("resident", "streamed"):
            network, execution = setup.work.build(), execution_of(spec)
            execution.prepare(network)
            batches: Batches = (
                Resident(network, features, targets, 0, "shuffled")
                if name == "resident"
                else Streamed(network, setup.data.stream, 0)
            )
            machinery = Machinery(
                setup.objective, spec, execution, 0, schedules.get("constant")(), (), batches, network
            )
            optimizers = make_optimizers(network, setup.objective, spec)
            zero = torch.zeros((), dtype=torch.float64)
            contestants[name] = (
                machinery,
                Run(network, optimizers, {}, steps_per_epoch(batches.rows, 128), 1, loss_sum=zero),
            )
            network.train()
        speeds: dict[str, list[float]] = {name: [] for name in contestants}
        costs: dict[str, list[float]] = {name: [] for name in contestants}
        for k in range(rounds + 1):
            for name in sorted(contestants, reverse=k % 2 == 1):
                machinery, run = contestants[name]
                started, spent = time.perf_counter(), time.process_time()
                for _ in range(steps):
                    if run.step_in_epoch >= run.steps_per_epoch:
                        run.epoch, run.step_in_epoch = run.epoch + 1, 0
                    machinery.step(run)
                for thread in threading.enumerate():
                    if thread.name == "bedplate-stream":
                        thread.join()
                if k:  # the first round warms up
                    speeds[name].append(steps * 128 / (time.perf_counter() - started))
                    costs[name].append((time.process_time() - spent) / steps / 128)
    ratios = [one / other for one, other in zip(speeds["streamed"], speeds["resident"], strict=True)]
    return {
        "rounds": rounds, "steps": steps,
        "resident_rows_per_second": round(statistics.median(speeds["resident"]), 1),
        "streamed_rows_per_second": round(statistics.median(speeds["streamed"]), 1),
        "ratio": round(statistics.median(ratios), 4), "ratios": [round(ratio, 3) for ratio in ratios],
        "processor_time_ratio": round(
            statistics.median(one / other for one, other in zip(costs["streamed"], costs["resident"], strict=True)), 4
        ),
    }  # fmt: skip


def child(*words: str) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.streams", "--child", *words]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(words[0], Path(words[1]).stem, {k: v for k, v in found.items() if not isinstance(v, list)}, flush=True)
    return found


def run_child(words: Sequence[str]) -> None:
    """Do one measurement and print it as JSON."""
    kind, recipe = words[0], Path(words[1])
    if kind == "train":
        found = train_for(recipe, float(words[2]))
    elif kind == "pass":
        found = pass_over(recipe)
    else:
        found = in_turns(recipe, int(words[2]), int(words[3]))
    print(json.dumps(found))


def main() -> None:
    """Generate, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--gigabytes", type=float, default=4.2)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=84)
    parser.add_argument("--child", nargs="+")
    given = parser.parse_args()
    if given.child:
        run_child(given.child)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, given.gigabytes)
        size = sum(path.stat().st_size for path in folder.rglob("train-*.parquet"))
        print(f"{size / 1e9:.2f} GB of Parquet in {folder}", flush=True)
        facts = describe()
        machine = {key: facts[key] for key in ("cpu", "threads", "versions")}
        figures: dict[str, Any] = {"parquet_bytes": size, "machine": machine}
        rounds = (str(given.rounds), str(given.steps))
        for name, kind, words in (
            ("training", "raw", ("train", str(given.minutes * 60))),
            ("linear_training", "raw-linear", ("train", str(given.minutes * 60))),
            ("whole_pass", "raw", ("pass",)),
            ("parquet_beside_memory", "raw-turns", ("turns", *rounds)),
            ("npy_tar_pass", "npy", ("pass",)),
            ("npy_tar_beside_memory", "npy-turns", ("turns", *rounds)),
            ("png_tar_pass", "png", ("pass",)),
            ("png_tar_beside_memory", "png-turns", ("turns", *rounds)),
        ):
            drop_cached(folder)
            figures[name] = child(words[0], str(folder / f"{kind}.yaml"), *words[1:])
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
