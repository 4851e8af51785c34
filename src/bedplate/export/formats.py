"""The formats that a bundle can leave in: what each needs, where it begins, and how it is written, run and loaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bedplate.bundle.session import OnnxPredict
from bedplate.core.arrays import Arrays, Predict
from bedplate.core.errors import InputError, did_you_mean, listing
from bedplate.export import litert, openvino_ir, torch_export
from bedplate.export.fidelity import Limits
from bedplate.export.fp16 import to_float16
from bedplate.models import Network

Begins = Literal["graph", "network"]
ONNX_FILE = "model.onnx"


@dataclass(frozen=True)
class Source:
    """What a format is made from.

    Attributes:
        graph: the bundle's graph (raw tensors → answer), the int8 one where that is asked for.
        network: the same model in torch, for formats that begin with the network.
        features: a few rows of what the network takes.
    """

    graph: bytes
    network: Network | None = None
    features: Arrays = field(default_factory=dict)

    @property
    def built(self) -> Network:
        """The network, which whoever made the source for such a format has given."""
        assert self.network is not None
        return self.network


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: as `--to` takes it.
        about: what it is, in a line.
        begins: with the bundle's graph, which takes raw tensors; or with the network, which takes the codec's features
            and must be registered here with its weights.
        extra: which extra brings its packages.
        packages: what must be importable.
        write: writes its files into a folder, in int8 if asked to.
        open: loads them: (folder, names of the inputs in order, output) → Predict.
        usage: lines of Python that load and ask it; ROWS, NAMES and OUTPUT are filled in.
        limits: what its answers may differ by.
        int8_limits: the same in int8; None where the format has no int8.
        one_row: it takes exactly one row at a time.
        types: what it takes instead of certain types.
        note: what whoever takes it away must know.
    """

    name: str
    about: str
    begins: Begins
    extra: str
    packages: tuple[str, ...]
    write: Callable[[Source, Path, bool], None]
    open: Callable[[Path, Sequence[str], str], Predict]
    usage: str
    limits: Limits
    int8_limits: Limits | None = None
    one_row: bool = False
    types: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def need_packages(self) -> None:
        """Raise an InputError that says what to install, where something is missing."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise InputError(
                f"`--to {self.name}` needs more than is installed", received=f"no {listing(missing)}",
                hint=f'pip install "bedplate[{self.extra}]"',
            )  # fmt: skip


def _write_fp16(source: Source, folder: Path, int8: bool) -> None:
    (folder / ONNX_FILE).write_bytes(to_float16(source.graph))


def _open_onnx(folder: Path, names: Sequence[str], output: str) -> Predict:
    return OnnxPredict((folder / ONNX_FILE).read_bytes(), variant="fp16", threads=1, where=ONNX_FILE)


FP16 = Format(
    name="onnx-fp16",
    about="ONNX with float16 weights and arithmetic, float32 in and out",
    begins="graph",
    extra="train",
    packages=("onnx",),
    write=_write_fp16,
    open=_open_onnx,
    usage=f"""import numpy as np, onnxruntime

session = onnxruntime.InferenceSession("{ONNX_FILE}")
rows = ROWS
answers = session.run(["OUTPUT"], rows)[0]""",
    limits=Limits(exact=False, agreement=0.99, error=0.01),
    note="On CPUs float16 is for storage: ONNX Runtime casts it to float32 and computes in that. Nothing gets faster.",
)

OPENVINO = Format(
    name="openvino",
    about="OpenVINO's IR",
    begins="graph",
    extra="openvino",
    packages=("openvino", "onnx"),
    write=lambda source, folder, int8: openvino_ir.to_openvino(source.graph, folder),
    open=lambda folder, names, output: openvino_ir.openvino_predictor(folder, output),
    usage=f"""import numpy as np, openvino

model = openvino.Core().compile_model("{openvino_ir.FILE}", "CPU", {openvino_ir.OPTIONS})
rows = ROWS
answers = model(rows)["OUTPUT"]""",
    limits=Limits(),
    int8_limits=Limits(exact=False, agreement=0.98, error=0.05),
    note="Load it with INFERENCE_PRECISION_HINT f32: on processors with bfloat16 OpenVINO computes in that by default, "
    "and the answers are no longer those that were compared here. `import openvino` reports to its maker; "
    "`sys.modules['openvino_telemetry'] = None` before it stops that.",
)

TORCH_EXPORT = Format(
    name="torch-export",
    about="torch.export's program, .pt2",
    begins="network",
    extra="train",
    packages=("torch",),
    write=lambda source, folder, int8: torch_export.to_torch_export(source.built, source.features, folder),
    open=torch_export.torch_predictor,
    usage=f"""import numpy as np, torch

program = torch.export.load("{torch_export.FILE}").module()
rows = ROWS
answers = program(*(torch.from_numpy(rows[name]) for name in NAMES)).detach().numpy()""",
    limits=Limits(),
    note="No part of this file is a pickle: its example inputs, which torch would have pickled, were left out. But "
    "torch.export.load unpickles what other people's files hold: load a .pt2 only if you know where it comes from.",
)

LITERT = Format(
    name="litert",
    about="LiteRT's flatbuffer, .tflite, for phones and small boards",
    begins="network",
    extra="litert",
    packages=("litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
    write=lambda source, folder, int8: litert.to_litert(source.built, source.features, folder, int8=int8),
    open=litert.litert_predictor,
    usage="""import numpy as np
from ai_edge_litert.interpreter import Interpreter

model = Interpreter("model.tflite").get_signature_runner()
rows = ROWS
named = {f"args_{k}": rows[name] for k, name in enumerate(NAMES)}
(answers,) = model(**named).values()""",
    limits=Limits(),
    int8_limits=Limits(exact=False, agreement=0.98, error=0.05),
    one_row=True,
    types=litert.TYPES,
    note="It takes exactly one row at a time.",
)

FORMATS = {one.name: one for one in (LITERT, OPENVINO, FP16, TORCH_EXPORT)}


def find_format(name: str, *, int8: bool = False) -> Format:
    """Return a format by its name.

    Raises:
        InputError: there is none of that name, or it has no int8 and that is asked for.
    """
    found = FORMATS.get(name)
    if found is None:
        raise InputError(
            f"unknown format '{name}'", where="--to", expected=f"one of {listing(FORMATS)}",
            hint=did_you_mean(name, FORMATS),
        )  # fmt: skip
    if int8 and found.int8_limits is None:
        able = [one.name for one in FORMATS.values() if one.int8_limits is not None]
        raise InputError(f"{name} has no int8", where="--int8", expected=f"--to {' or '.join(able)}")
    return found


__all__ = ["FORMATS", "Format", "Source", "find_format"]
