"""Take a bundle's model away in another format: write it, run it in that format's own runtime, compare, and time both.

What fails the comparison is not written. The folder holds the model, `export.json` with all figures, and a README with
the lines of Python that load it.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bedplate import __version__
from bedplate.bundle import Bundle, layout
from bedplate.bundle.onnxscan import scan_graph
from bedplate.codecs.codec import STRINGS, TensorSpec
from bedplate.compression.measure import Latency, measure_latencies
from bedplate.core.arrays import Arrays, Predict
from bedplate.core.console import Console, human_bytes
from bedplate.core.errors import BundleError, GateError, InputError, RunError
from bedplate.core.files import atomic_folder, write_bytes, write_json, write_text
from bedplate.core.machine import cpu_model, versions
from bedplate.export.fidelity import Difference, Limits, check_fidelity, difference, edge_rows
from bedplate.export.formats import Format, Source, find_format
from bedplate.export.readme import FEATURES, RECORD, readme
from bedplate.export.torch_export import fresh_answers
from bedplate.models import Network
from bedplate.stages.bundle_network import bundle_network
from bedplate.stages.folder import MARKER

_QUANTISED = {"QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"}


@dataclass(frozen=True)
class Exported:
    """What was written, and what `export.json` says of it."""

    path: Path
    record: dict[str, Any]


def export_bundle(
    source: str | Path, to: str, *, out: str | Path | None = None, int8: bool = False, console: Console | None = None
) -> Exported:
    """Write a bundle's model in another format, having checked that it answers there as it does here.

    Args:
        source: a bundle, or a run's folder.
        to: "litert", "openvino", "onnx-fp16" or "torch-export".
        out: a new folder; left out: `exported/FORMAT` beside the bundle (`FORMAT-int8` with `int8`).
        int8: in int8, where the format has it.
        console: where people read along; left out: silent.

    Raises:
        InputError: an unknown format, something that isn't installed, or a bundle that can't take this form.
        RunError: `out` is there already.
        GateError: the model answers otherwise in that format; nothing is written.
    """
    console = console or Console(quiet=True)
    chosen = find_format(to, int8=int8)
    bundle = _opened(Path(source))
    if bundle.codec.kind in ("language", *STRINGS):
        raise InputError(
            f"{bundle.codec.kind}s aren't exported yet", where=bundle.name,
            received="a bundle whose graph takes token numbers",
            hint="serve it, or take its graph and the codec of its contract",
        )  # fmt: skip
    chosen.need_packages()  # what can't be exported needs none
    folder = Path(out) if out is not None else bundle.source.parent / "exported" / f"{to}{'-int8' if int8 else ''}"
    if folder.exists():
        raise RunError("there is something already", where=str(folder), hint="choose another folder with --out")
    variant = _variant(bundle, chosen, int8)
    network = _network(bundle) if chosen.begins == "network" else None
    features = bundle.codec.features(bundle.golden.inputs) if network else {}
    made_of = Source(bundle.graph(variant), network, _three(features))
    console.stage("export", f"{bundle.name} to {to}{' in int8' if int8 else ''}")
    with atomic_folder(folder) as work:
        chosen.write(made_of, work, int8)
        before = bundle.codec.graph() if network else None
        if before is not None:
            write_bytes(work / FEATURES, before)
        sizes = {path.name: path.stat().st_size for path in sorted(work.iterdir())}
        judged = _Judged(bundle, chosen, network, work)
        parity = judged.parity(chosen.int8_limits if int8 and chosen.int8_limits else chosen.limits)
        record = {
            "format": to,
            "int8": int8,
            "bundle": {"name": bundle.name, "id": bundle.id, "task": bundle.task, "variant": variant},
            "contract": judged.contract(),
            "parity": parity,
            "size_bytes": {
                "export": sum(sizes.values()),
                "onnx": len(bundle.graph(_foundation(bundle))),
                "files": sizes,
            },
            "latency_ms": judged.latencies(),
            "versions": {"bedplate": __version__, **versions(), **_package_versions(chosen)},
            "cpu": cpu_model(),
            "note": chosen.note,
        }
        write_json(work / RECORD, record)
        write_text(work / "README.md", readme(chosen, record))
    return Exported(folder, record)


def _opened(source: Path) -> Bundle:
    if (source / MARKER).is_file():
        if not (source / "bundle").is_dir():
            raise RunError(
                "this run has no bundle to export", where=str(source), hint="its gate said no, or it wasn't finished"
            )
        return Bundle.open(source / "bundle")
    return Bundle.open(source)


def _foundation(bundle: Bundle) -> str:
    """Return the variant that is right by definition: f32, or the only one that a front point has."""
    return layout.FOUNDATION if layout.FOUNDATION in bundle.variants else bundle.default


def _quantised(bundle: Bundle, variant: str) -> bool:
    return bool(scan_graph(bundle.graph(variant), variant).operators & _QUANTISED)


def _variant(bundle: Bundle, chosen: Format, int8: bool) -> str:
    """Return which graph is taken: the float one, or for int8 the bundle's own quantised one."""
    foundation = _foundation(bundle)
    if chosen.begins == "network":
        return foundation
    if int8:
        static = [
            name for name in bundle.variants if "QuantizeLinear" in scan_graph(bundle.graph(name), name).operators
        ]
        if not static:
            raise InputError(
                "the bundle holds no int8 graph with fixed ranges to convert", where=str(bundle.source),
                expected="a variant such as int8-static", received=f"the variants {bundle.variants}",
                hint="compression keeps one where it does no harm (`compression.methods: [int8-static]` and a larger "
                "`compression.max_drop`); points of `bedplate compress` have theirs",
            )  # fmt: skip
        return static[0]
    if _quantised(bundle, foundation):
        raise InputError(
            "the bundle holds nothing but an int8 graph", where=str(bundle.source),
            hint="export the bundle that it was made of, or say `--to openvino --int8`",
        )  # fmt: skip
    return foundation


def _network(bundle: Bundle) -> Network:
    """Return the bundle's network with its weights, for formats that don't begin with ONNX."""
    model = bundle.model
    graph_only = "`--to onnx-fp16` and `--to openvino` need only its graph"
    if "imported" in model:
        raise InputError(
            "an imported model is a graph, and this format begins with a network",
            where=str(bundle.source),
            hint=graph_only,
        )
    if layout.WEIGHTS not in bundle.manifest.files:
        raise InputError(
            "the bundle holds no weights, and this format begins with them", where=str(bundle.source),
            hint=f"a point of a front has none, nor has an ensemble: export the original; or {graph_only}",
        )  # fmt: skip
    try:
        return bundle_network(bundle)
    except InputError as error:
        if isinstance(error, BundleError):
            raise
        raise InputError(
            "the bundle's model isn't registered here", where=str(bundle.source), received=error.what,
            hint=f"load the plug-in that registers it; or {graph_only}",
        ) from error  # fmt: skip


def _three(features: Arrays) -> dict[str, np.ndarray]:
    """Return the first three rows; where there are fewer, some twice."""
    return {name: array[np.arange(3) % len(array)] for name, array in features.items()}


class _Judged:
    """An export under judgement: its files, opened, beside the bundle's own graph; both take raw tensors."""

    def __init__(self, bundle: Bundle, chosen: Format, network: Network | None, work: Path) -> None:
        self.bundle, self.chosen, self.network, self.work = bundle, chosen, network, work
        foundation = _foundation(bundle)
        self.reference = bundle.session(foundation, bundle.graph(foundation), threads=1)
        self.names = network.inputs.names if network else tuple(spec.name for spec in bundle.inputs)
        run = chosen.open(work, self.names, bundle.output)
        self.run: Predict = (lambda rows: run(bundle.codec.features(rows))) if network else run

    def parity(self, limits: Limits) -> dict[str, Any]:
        """Return what was seen on golden and edge rows. Raises GateError where it isn't within the limits."""
        labels = self.bundle.answers.labels is not None
        golden, edges = self.bundle.golden.inputs, edge_rows(self.bundle.codec)
        found = {"golden": self._difference(golden, labels)}
        if edges is not None:
            found["edge"] = self._difference(edges, labels)
        check_fidelity(found, limits)
        if self.chosen.name == "torch-export":
            self._check_fresh(golden)
        allowed = {"rtol": 1e-3, "atol": 1e-4, "labels": "all"} if limits.exact else vars(limits)
        return {**{name: seen.to_json() for name, seen in found.items()}, "limits": dict(allowed)}

    def _difference(self, rows: Arrays, labels: bool) -> Difference:
        with _one_thread():
            return difference(
                self.reference, self.run, rows, [spec.name for spec in self.bundle.outputs], labels=labels
            )

    def _check_fresh(self, rows: Arrays) -> None:
        """Compare with what a process that has never seen Bedplate makes of the file."""
        given = fresh_answers(self.work, self.bundle.codec.features(rows), self.names)
        here = self.run(rows)[self.bundle.output]
        if not np.allclose(given, here, rtol=1e-5, atol=1e-6 * max(1.0, float(np.abs(here).max()))):
            raise GateError("a fresh process answers otherwise", received=f"{np.abs(given - here).max():.3g} apart")

    def latencies(self) -> dict[str, Any]:
        """Return milliseconds for one row on one thread, taken in turns with ONNX Runtime."""
        runs: dict[str, Predict] = {"onnxruntime": self.reference, "export": self.run}
        with _one_thread():
            found: dict[str, Latency] = measure_latencies(runs, self.bundle.golden.inputs)
        return {name: latency.to_json() for name, latency in found.items()}

    def contract(self) -> dict[str, Any]:
        """Return what the exported model takes and gives."""
        bundle = self.bundle
        taken = bundle.inputs if self.network is None else _feature_specs(bundle, self.names, self.chosen.types)
        found: dict[str, Any] = {
            "inputs": [spec.to_json() for spec in taken],
            "outputs": [spec.to_json() for spec in bundle.outputs],
            "rows": "one" if self.chosen.one_row else "any",
            "labels": None if bundle.answers.labels is None else list(bundle.answers.labels),
            "target": bundle.answers.target,
        }
        if (self.work / FEATURES).is_file():
            found["features"] = {"file": FEATURES, "inputs": [spec.to_json() for spec in bundle.inputs]}
        return found


def _feature_specs(bundle: Bundle, names: tuple[str, ...], types: Mapping[str, str]) -> list[TensorSpec]:
    features = bundle.codec.features(bundle.golden.inputs)
    kinds = {name: str(features[name].dtype) for name in names}
    return [TensorSpec(name, types.get(kind, kind), features[name].shape[1:]) for name, kind in kinds.items()]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread, as the other runtimes do here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _package_versions(chosen: Format) -> dict[str, str]:
    return {name: importlib.metadata.version(name.replace("_", "-")) for name in chosen.packages}


def show(found: Exported, console: Console) -> None:
    """Write what came of it for people."""
    record = found.record
    for name in ("golden", "edge"):
        if name in record["parity"]:
            seen = record["parity"][name]
            same = "" if seen["label_agreement"] is None else f", {seen['label_agreement']:.1%} of the labels equal"
            console.detail(f"{name} rows: largest difference {seen['max_difference']:.1e}{same} ({seen['rows']} rows)")
    size, latency = record["size_bytes"], record["latency_ms"]
    console.detail(f"{human_bytes(size['export'])}; the float32 ONNX is {human_bytes(size['onnx'])}")
    low, high = latency["export"]["ratio_low"], latency["export"]["ratio_high"]
    console.detail(
        f"{latency['export']['median']:.3f} ms a row, p95 {latency['export']['p95']:.3f}; ONNX Runtime "
        f"{latency['onnxruntime']['median']:.3f} ms; {latency['export']['ratio']:.2f}× ({low:.2f}–{high:.2f})"
    )
    console.detail(record["note"])
    console.say(f"written: {found.path}")


__all__ = ["Exported", "export_bundle", "show"]
