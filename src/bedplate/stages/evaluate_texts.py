"""Evaluation where texts are answered by texts: what is written for the test rows, beside what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.codecs.codec import TOKENS
from bedplate.codecs.language import LanguageCodec
from bedplate.evaluation import Report
from bedplate.export.stepwise import read_at_once, stepper
from bedplate.generation import Generator
from bedplate.models import Network
from bedplate.models.pair_baselines import fit_pair_baselines

if TYPE_CHECKING:
    from bedplate.data.dataset import Rows
    from bedplate.evaluation.texts import TextFacts
    from bedplate.stages.work import Work


def codec_of(work: Work) -> LanguageCodec:
    """Return the codec with the number of beams that the recipe names: as texts are judged, so they are served."""
    codec = work.dataset.codec
    assert isinstance(codec, LanguageCodec)
    return replace(codec, beams=work.recipe.evaluation.beams) if codec.pairs else codec


def writer(work: Work, network: Network) -> Generator | None:
    """Return what writes answers by the trained network; None where texts aren't answered by texts."""
    codec = work.dataset.codec
    if not isinstance(codec, LanguageCodec) or not codec.pairs:
        return None
    return Generator(codec_of(work), *stepper(network))


def write_answers(work: Work, rows: Rows, write: Generator) -> list[str]:
    """Return what is written for each row."""
    tokens = rows.inputs[TOKENS]
    prompts = [row[:size].tolist() for row, size in zip(tokens, read_at_once(work.inputs, tokens), strict=True)]
    written = [""] * len(prompts)
    with work.console.progress("writing answers", len(prompts)) as advance:
        for done, (number, text) in enumerate(write.answers(prompts), 1):
            written[number] = text
            advance(done, "")
    return written


def text_facts(work: Work, rows: Rows, written: Sequence[str]) -> TextFacts:
    """Return written texts beside the expected ones."""
    from bedplate.evaluation.texts import TextFacts  # only where texts are written is sacrebleu needed

    assert rows.texts is not None
    return TextFacts(written, rows.texts[:, 1].tolist(), lower=work.recipe.data.text.lower)


def judge_texts(work: Work, report: Report, rows: Rows, write: Generator) -> Report:
    """Return the report with what was written for the rows, and its metrics before the others."""
    assert rows.texts is not None
    written, spec = write_answers(work, rows, write), work.recipe.evaluation
    metrics = text_facts(work, rows, written).metrics(spec.resamples, spec.confidence, work.recipe.seed)
    worst = [{**one, "expected": str(rows.texts[one["row"], 1]), "answer": written[one["row"]]} for one in report.worst]
    return replace(report, metrics=metrics | report.metrics, worst=worst, texts=written)


def baseline_texts(work: Work) -> dict[str, dict[str, float]]:
    """Return the metrics of what each baseline writes for the test rows."""
    train, test = work.dataset.train.texts, work.dataset.test.texts
    assert train is not None
    assert test is not None
    lower = work.recipe.data.text.lower
    found = fit_pair_baselines(train[:, 0].tolist(), train[:, 1].tolist(), test[:, 0].tolist(), lower=lower)
    return {name: text_facts(work, work.dataset.test, texts).values() for name, texts in found.items()}
