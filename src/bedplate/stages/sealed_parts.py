"""What a bundle holds beside its graphs, of a run's data: golden rows, the drift reference, the codec that serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bedplate.bundle import Golden
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.answers import LOGITS
from bedplate.codecs.codec import SEPARATOR, TOKENS, Codec, TensorSpec
from bedplate.codecs.language import LanguageCodec
from bedplate.core.arrays import Predict, predict_in_batches
from bedplate.packaging import choose_golden
from bedplate.packaging.golden_texts import choose_golden_texts
from bedplate.profile import fit_reference
from bedplate.stages.evaluate_texts import codec_of
from bedplate.stages.work import Work


def served_codec(work: Work) -> Codec:
    """Return the codec as it is served."""
    return codec_of(work) if isinstance(work.dataset.codec, LanguageCodec) else work.dataset.codec


def outputs_of(work: Work) -> list[TensorSpec] | None:
    """Return the graph's outputs where a caller is told less than all of them: of a language model its scores alone."""
    codec = work.dataset.codec
    if not isinstance(codec, LanguageCodec):
        return None
    return [TensorSpec(LOGITS, "float32", (-1, codec.vocabulary))]


def golden_of(work: Work, predictors: Mapping[str, OnnxPredict]) -> Golden:
    """Return golden rows, test rows or made-up ones as the recipe says, with the answers of every variant."""
    recipe, dataset = work.recipe, work.dataset
    synthetic = recipe.serving.golden == "synthetic"
    if isinstance(dataset.codec, LanguageCodec):
        return choose_golden_texts(
            dataset.test.inputs[TOKENS], predictors, dataset.codec.vocabulary, rows=recipe.serving.golden_rows,
            synthetic=synthetic, seed=recipe.seed, separator=SEPARATOR if dataset.codec.pairs else None,
        )  # fmt: skip
    return choose_golden(
        dataset.test.inputs, dataset.test.targets, dataset.codec.tensors, predictors, classes=work.outputs.labels,
        rows=recipe.serving.golden_rows, synthetic=synthetic, seed=recipe.seed,
    )  # fmt: skip


def reference_of(work: Work, predict: Predict) -> dict[str, Any]:
    """Return the drift reference of the validation rows; nothing for windows of a text, which say little of prompts."""
    dataset, spec = work.dataset, work.recipe.serving
    if dataset.answers.sizes:
        return {}
    held_out = dataset.validation
    return fit_reference(
        held_out.inputs,
        predict_in_batches(predict, held_out.inputs),
        output=dataset.answers.output,
        window=spec.window,
        false_alarm_rate=spec.false_alarm_rate,
        seed=work.recipe.seed,
        labels=dataset.answers.labels or dataset.answers.many or dataset.answers.columns,
    )
