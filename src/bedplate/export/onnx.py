"""torch → ONNX: the network with its answer's form, and the join with a codec's pre-graph.

The IR version and opset are fixed so that every ONNX Runtime since 1.22 loads the file.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping

import onnx
import torch
from onnx import compose

from bedplate.codecs.codec import PAST, PRESENT
from bedplate.core.arrays import Arrays, take
from bedplate.core.errors import GateError
from bedplate.export.recurrent import TRANSLATIONS, exportable
from bedplate.export.stepwise import LENGTH, Stepping, past_names, sample_past
from bedplate.export.translations import kept_translations
from bedplate.models import PADDED, Answering, Network, to_tensors

IR_VERSION = 10
OPSET = 20
ML_OPSET = 3
ROWS = "rows"
_ANSWER = "bedplate_answer"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress texts and warnings off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)


def export_network(network: Network, sample: Arrays) -> onnx.ModelProto:
    """Return the network (features → answer) as ONNX with a free row axis.

    Args:
        network: its training flag is put back afterwards.
        sample: features of two rows or more.

    Raises:
        GateError: the exporter can't express the model.
    """
    training = network.training
    sequence = network.outputs.sequence
    answering = exportable((Stepping(network) if sequence else Answering(network)).eval())
    names, outputs = list(network.inputs.names), [network.outputs.name]
    # Three rows: one or two would let the exporter take the row count, or a broadcast, for a constant.
    tensors = to_tensors(network, take(sample, slice(0, 3)))
    while len(tensors[0]) < 3:
        tensors = [torch.cat([tensor, tensor]) for tensor in tensors]
    dims = {name: torch.export.Dim(name) for name in (ROWS, "length", "past")}
    free = [{0: ROWS} | ({1: "length"} if isinstance(network.inputs, PADDED) else {}) for _ in tensors]
    if sequence:
        past, free_past = sample_past(network, len(tensors[0]))
        tensors, free = [*tensors, *past], [*free, *free_past]
        names += [LENGTH, *(PAST + name for name in past_names(network))]
        outputs += [PRESENT + name for name in past_names(network)]
    try:
        with _quiet(), kept_translations():
            program = torch.onnx.export(
                answering,
                tuple(tensors),
                dynamo=True,
                opset_version=OPSET,
                verbose=False,
                input_names=names,
                output_names=[_ANSWER, *outputs[1:]],
                dynamic_shapes=(tuple({axis: dims[name] for axis, name in one.items()} for one in free),),
                custom_translation_table=TRANSLATIONS,
            )
    except torch.onnx.OnnxExporterError as error:
        raise GateError(
            "the model can't be exported to ONNX",
            received=str(error).strip().splitlines()[0],
            hint="use operations that torch.onnx supports, and no control flow that depends on data",
        ) from error
    finally:
        network.train(training)
    assert program is not None
    model = program.model_proto
    _name_answer(model, outputs[0])
    _strip(model)
    _check_free(model, dict(zip(names, free, strict=True)))
    return finish(model)


def _name_answer(model: onnx.ModelProto, output: str) -> None:
    """Give the graph's output its name; a tensor inside that the exporter called so gets another.

    The exporter names tensors after operators, `embedding` among them, and doesn't see the collision.
    """
    new = {_ANSWER: output, output: f"{output}_inner"}
    for node in model.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    for value in [*model.graph.value_info, *model.graph.output]:
        value.name = new.get(value.name, value.name)


def _check_free(model: onnx.ModelProto, free: Mapping[str, Mapping[int, str]]) -> None:
    """Raise GateError where a text's length, or a past's, is fixed: torch 2.13 fixes some loops' without a word."""
    for value in model.graph.input:
        for axis, name in free.get(value.name, {}).items():
            if name == ROWS:
                continue
            size = value.type.tensor_type.shape.dim[axis]
            if not size.dim_param:
                what = "texts" if name == "length" else "past"
                raise GateError(
                    f"the exporter fixed the length of the {what}", where=value.name,
                    expected="a graph for any length", received=f"{size.dim_value} tokens, as the sample has",
                    hint="the model computes something for one length alone, such as a loop over the tokens",
                )  # fmt: skip


def _strip(model: onnx.ModelProto) -> None:
    """Drop what the exporter noted for debugging: it names files of this machine and doubles the size."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.graph.doc_string = model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
        value.doc_string = ""


def finish(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fix the IR version, name the producer, drop operator sets that no node needs, and check the graph strictly."""
    domains = {node.domain for node in model.graph.node} | {node.domain for f in model.functions for node in f.node}
    needed = {entry.domain: entry for entry in model.opset_import if not entry.domain or entry.domain in domains}
    del model.opset_import[:]
    model.opset_import.extend(needed.values())  # once each: some tools name one twice
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "bedplate", ""
    onnx.checker.check_model(model, full_check=True)
    return model


def join(pre_graph: bytes | None, model: onnx.ModelProto) -> onnx.ModelProto:
    """Put a codec's pre-graph (raw tensors → features) before the model, so that the graph takes raw tensors."""
    if pre_graph is None:
        return model
    before = onnx.load_from_string(pre_graph)
    wanted = [value.name for value in model.graph.input]
    after = compose.add_prefix(model, "model/", rename_inputs=False, rename_outputs=False)
    for proto in (before, after):
        proto.ir_version = IR_VERSION
    versions = {entry.domain: entry.version for proto in (before, after) for entry in proto.opset_import}
    for proto in (before, after):
        del proto.opset_import[:]
        proto.opset_import.extend(
            onnx.helper.make_opsetid(domain, version) for domain, version in sorted(versions.items())
        )
    before = compose.add_prefix(before, "codec/", rename_inputs=False, rename_outputs=True)
    merged = compose.merge_models(
        before,
        after,
        io_map=[(f"codec/{name}", name) for name in wanted],
        outputs=[value.name for value in model.graph.output],
    )
    return finish(merged)


__all__ = ["IR_VERSION", "ML_OPSET", "OPSET", "export_network", "finish", "join"]
