"""The network → `torch.export`'s `.pt2`: its graph and weights, for programs that have PyTorch and not Bedplate.

A `.pt2` is a zip of JSON and raw weights. `torch.export.save` pickles the example inputs into it, too; they are left
out here, and so nothing in the file is a pickle. What `torch.export.load` does with other people's files is another
matter: it unpickles what they hold.

https://docs.pytorch.org/docs/stable/export.html
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from bedplate.core.arrays import Arrays, Predict, take
from bedplate.core.errors import GateError
from bedplate.models import Answering, Network, to_tensors

FILE = "model.pt2"
ROWS = "rows"

_FRESH = """
import sys, torch
from safetensors.torch import load_file, save_file
program, rows, out, *names = sys.argv[1:]
given = load_file(rows)
with torch.inference_mode():
    answer = torch.export.load(program).module()(*(given[name] for name in names))
save_file({"answer": answer.contiguous()}, out)
"""
"""What a program without Bedplate does with the file."""


def to_torch_export(network: Network, features: Arrays, folder: Path) -> None:
    """Write `model.pt2`: the network's features → its answer, with a free row axis.

    Args:
        network: in evaluation mode.
        features: three rows or more, as an example.
        folder: where the file goes.

    Raises:
        GateError: torch.export can't express the model, or the file would hold a pickle.
    """
    # Three rows: one or two would let the exporter take the row count, or a broadcast, for a constant.
    tensors = to_tensors(network, take(features, slice(0, 3)))
    rows = torch.export.Dim(ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(
                Answering(network).eval(), tuple(tensors), dynamic_shapes=(tuple({0: rows} for _ in tensors),)
            )
        except (torch._dynamo.exc.TorchDynamoException, RuntimeError, ValueError) as error:
            raise GateError(
                "the model can't be exported by torch.export", received=str(error).strip().splitlines()[0][:300]
            ) from error
        program.example_inputs = None
        torch.export.save(program, folder / FILE)
    strange = pickles(folder / FILE)
    if strange:
        raise GateError("torch.export wrote a pickle, which can run code when it is loaded", received=str(strange))


def pickles(file: Path) -> list[str]:
    """Return the members of a `.pt2` that are pickles, or zips, as `torch.save` writes around a pickle."""
    with zipfile.ZipFile(file) as archive:
        heads = {name: archive.open(name).read(4) for name in archive.namelist()}
    return sorted(name for name, head in heads.items() if head[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"))


def torch_predictor(folder: Path, names: Sequence[str], output: str) -> Predict:
    """Return the program in a folder as a `Predict` over features."""
    program = torch.export.load(folder / FILE).module()

    def predict(features: Arrays) -> Arrays:
        tensors = [torch.from_numpy(np.array(features[name])) for name in names]
        with torch.inference_mode():
            return {output: program(*tensors).numpy()}

    return predict


def fresh_answers(folder: Path, features: Arrays, names: Sequence[str]) -> np.ndarray:
    """Return what a new process, which knows nothing of Bedplate, answers with the file.

    Raises:
        GateError: it can't load the file, or fails at it.
    """
    with tempfile.TemporaryDirectory(prefix="bedplate-") as scratch:
        rows, out = Path(scratch) / "rows.safetensors", Path(scratch) / "out.safetensors"
        save_file({name: np.ascontiguousarray(features[name]) for name in names}, rows)
        command = [sys.executable, "-c", _FRESH, str(folder / FILE), str(rows), str(out), *names]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise GateError("a fresh process can't run the exported program", where=FILE, received=last[:300])
        return load_file(out)["answer"]


__all__ = ["FILE", "fresh_answers", "pickles", "to_torch_export", "torch_predictor"]
