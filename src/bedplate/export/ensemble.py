"""Several members as one ONNX graph: the same inputs go to every member, their answers are averaged or voted on.

Members differ in weights, and may differ in architecture. Averaging probabilities: Hansen and Salamon 1990,
Lakshminarayanan et al. 2017 (deep ensembles).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper

from bedplate.core.arrays import Arrays, Predict, take
from bedplate.core.errors import GateError, InputError
from bedplate.export.onnx import finish
from bedplate.export.parity import ATOL, BATCHES, RTOL

Combine = Literal["average", "vote"]

TIE_WEIGHT = 0.5
"""What the mean probability counts beside whole votes: less than one, so that it only ever breaks ties."""


def combine_answers(outputs: Sequence[np.ndarray], combine: Combine) -> np.ndarray:
    """Return what members with these `outputs` answer together; the plain twin of the graph's last nodes.

    Args:
        outputs: one array a member: probabilities [N,K] or values [N].
        combine: "average" takes the mean. "vote" (probabilities only) gives each class (votes + w·mean) / (M + w) with
            w = 0.5: the class with the most votes has the largest share, ties go to the larger mean probability (and,
            equal there too, to the first class), and no class gets exactly 0.
    """
    mean = np.mean(np.stack([np.asarray(one) for one in outputs]), axis=0)
    if combine == "average":
        return np.asarray(mean, np.float32)
    classes = mean.shape[1]
    votes = np.sum([np.eye(classes)[np.asarray(one).argmax(axis=1)] for one in outputs], axis=0)
    return np.asarray((votes + TIE_WEIGHT * mean) / (len(outputs) + TIE_WEIGHT), np.float32)


def ensemble_graph(members: Sequence[onnx.ModelProto], combine: Combine) -> onnx.ModelProto:
    """Return one graph of `members`, which take equal inputs and give one equal output (see `combine_answers`).

    Raises:
        InputError: fewer than two members, members that don't fit together, or numbers that should vote.
    """
    if len(members) < 2:
        raise InputError("an ensemble needs two members or more", received=str(len(members)))
    first = members[0].graph
    forms = {tuple(_form(value) for value in (*member.graph.input, *member.graph.output)) for member in members}
    if len(forms) > 1:
        raise InputError(
            "the members take or give different tensors", expected="members of the same data and task",
            received="; ".join(sorted(", ".join(map(str, form)) for form in forms)),
        )  # fmt: skip
    output = first.output[0]
    if combine == "vote" and len(output.type.tensor_type.shape.dim) != 2:
        raise InputError("numbers can't vote", where=output.name, expected="combine: average")
    graph = helper.make_graph([], "ensemble", list(first.input), [output])
    functions: dict[tuple[str, str], onnx.FunctionProto] = {}
    versions: dict[str, int] = {}
    answers = []
    for k, member in enumerate(members):
        part = compose.add_prefix(member, f"member{k}/", rename_inputs=False)
        graph.node.extend(part.graph.node)
        graph.initializer.extend(part.graph.initializer)
        graph.value_info.extend(part.graph.value_info)
        answers.append(part.graph.output[0].name)
        functions |= {(one.domain, one.name): one for one in part.functions}
        for entry in part.opset_import:
            versions[entry.domain] = max(entry.version, versions.get(entry.domain, 0))
    classes = output.type.tensor_type.shape.dim[-1].dim_value
    _combine_nodes(graph, answers, combine, output.name, classes)
    imports = [helper.make_opsetid(domain, version) for domain, version in sorted(versions.items())]
    model = helper.make_model(graph, opset_imports=imports, functions=list(functions.values()))
    return finish(model)


def _form(value: onnx.ValueInfoProto) -> tuple[str, int, tuple[int, ...]]:
    tensor = value.type.tensor_type
    return value.name, tensor.elem_type, tuple(dim.dim_value for dim in tensor.shape.dim)


def _combine_nodes(graph: onnx.GraphProto, answers: list[str], combine: Combine, output: str, classes: int) -> None:
    if combine == "average":
        graph.node.append(helper.make_node("Mean", answers, [output], name="ensemble/mean"))
        return
    constants = {
        "depth": np.array([classes], np.int64), "off_on": np.array([0, 1], np.float32),
        "tie": np.array(TIE_WEIGHT, np.float32), "total": np.array(len(answers) + TIE_WEIGHT, np.float32),
    }  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(array, f"ensemble/{name}") for name, array in constants.items())
    votes = []
    for k, answer in enumerate(answers):
        graph.node.append(
            helper.make_node("ArgMax", [answer], [f"ensemble/class{k}"], axis=1, keepdims=0, select_last_index=0)
        )
        graph.node.append(
            helper.make_node(
                "OneHot", [f"ensemble/class{k}", "ensemble/depth", "ensemble/off_on"], [f"ensemble/vote{k}"], axis=1
            )
        )
        votes.append(f"ensemble/vote{k}")
    graph.node.extend(
        [
            helper.make_node("Sum", votes, ["ensemble/votes"]),
            helper.make_node("Mean", answers, ["ensemble/mean"]),
            helper.make_node("Mul", ["ensemble/mean", "ensemble/tie"], ["ensemble/ties"]),
            helper.make_node("Add", ["ensemble/votes", "ensemble/ties"], ["ensemble/sum"]),
            helper.make_node("Div", ["ensemble/sum", "ensemble/total"], [output]),
        ]
    )


def check_ensemble(
    members: Sequence[Predict], joined: Predict, inputs: Arrays, output: str, combine: Combine, scale: float = 1.0
) -> float:
    """Return the largest difference between the joined graph and its members' own answers, at several batch sizes.

    Args:
        members: each member alone.
        joined: the graph of them all.
        inputs: rows to ask both about.
        output: the output's name.
        combine: how answers become one.
        scale: of the output; 1 for probabilities, the target's standard deviation for values.

    Raises:
        GateError: they differ by more than the parity gate allows (rtol 1e-3, atol 1e-4 · scale).
    """
    largest = 0.0
    for batch in (*BATCHES, 256):
        rows = take(inputs, slice(0, batch))
        wanted = combine_answers([np.asarray(member(rows)[output]) for member in members], combine)
        given = np.asarray(joined(rows)[output]).reshape(wanted.shape)
        gap = np.abs(wanted - given)
        # Where two classes are level to the last bit, either may get the member's vote.
        level = _level(members, rows, output) if combine == "vote" else np.zeros(len(wanted), bool)
        wrong = (gap > ATOL * scale + RTOL * np.abs(wanted)).reshape(len(wanted), -1).any(axis=1) & ~level
        if wrong.any():
            raise GateError(
                "the ensemble's graph does not answer as its members do", where=f"batch of {batch}",
                expected=f"differences within {ATOL * scale:g} + {RTOL:g}·|x|", received=f"{gap.max():.3g}",
            )  # fmt: skip
        largest = max(largest, float(gap[~level].max(initial=0.0)))
    return largest


def _level(members: Sequence[Predict], rows: Arrays, output: str) -> np.ndarray:
    found: list[np.ndarray] = []
    for member in members:
        ordered = np.sort(np.asarray(member(rows)[output]), axis=1)
        found.append(ordered[:, -1] - ordered[:, -2] < ATOL)
    return np.asarray(np.any(found, axis=0))


__all__ = ["TIE_WEIGHT", "Combine", "check_ensemble", "combine_answers", "ensemble_graph"]
