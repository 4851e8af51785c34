"""The peers: what each one's environment holds, which program makes its graphs, and by which settings."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.serving.environments import ROOT

ONNX = ("onnx==1.23.2", "onnxruntime==1.31.1", "numpy==2.4.6")


@dataclass(frozen=True)
class Peer:
    """One tool.

    Attributes:
        name: as the tables have it.
        environment: the folder of its environment.
        packages: what pip is asked for.
        file: the program, in `tools/`.
        main: the packages whose versions are told.
        graphs: each graph that it makes, by name, with the settings in words.
    """

    name: str
    environment: str
    packages: tuple[str, ...]
    file: str
    main: tuple[str, ...]
    graphs: tuple[tuple[str, str], ...]


PEERS = (
    Peer(
        "ONNX Runtime", "compression-onnxruntime", (*ONNX, "sympy==1.14.0"), "onnxruntime_.py", ("onnxruntime", "onnx"),
        (
            ("minmax", "quant_pre_process, then quantize_static: QDQ, per channel, U8 activations, S8 weights, MinMax"),
            ("entropy", "the same, Entropy"),
        ),
    ),
    Peer(
        "NNCF", "compression-nncf", ("nncf==3.4.0", *ONNX), "nncf_.py", ("nncf", "onnx", "onnxruntime"),
        (
            ("ptq", "quantize, preset PERFORMANCE (the default), TargetDevice.CPU"),
            ("ptq-mixed", "quantize, preset MIXED, TargetDevice.CPU"),
            ("accuracy-control", "quantize_with_accuracy_control, max_drop 0.005 on the validation rows"),
        ),
    ),
    Peer(
        "Torch-Pruning", "bedplate-torch-pruning",
        ("--editable", f"{ROOT}[train]", "torch-pruning==1.6.1"), "torch_pruning_.py", ("torch-pruning", "torch"),
        (("magnitude-50", "BasePruner, GroupMagnitudeImportance, half of the channels; trained on by the labels"),),
    ),
    Peer(
        "Olive", "compression-olive",
        ("olive-ai==0.13.0", "requests==2.34.2", "torch==2.13.0", *ONNX), "olive_.py",
        ("olive-ai", "onnx", "onnxruntime"),
        (
            ("static", "OnnxStaticQuantization: QDQ, per channel, U8 activations, S8 weights, MinMax, pre-processed"),
            ("dynamic", "OnnxDynamicQuantization: S8 weights, per channel"),
        ),
    ),
)  # fmt: skip
