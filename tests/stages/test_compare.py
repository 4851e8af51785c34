"""Comparing sides: runs, bundles, folders of runs; paired where they can be paired, honest where they can't."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bedplate.codecs.answers import Answers
from bedplate.core.errors import InputError, RunError
from bedplate.evaluation import Report, evaluate
from bedplate.stages.compare import compare_runs

LABELS = Answers("y", ("a", "b"), 1)


def judged(share: float, seed: int, rows: int = 400, ids: str = "row") -> Report:
    """Return the report of answers of which about `share` are right, on rows that are alike for equal `ids`."""
    targets = np.arange(rows) % 2
    right = np.random.default_rng(seed).random(rows) < share
    answers = np.where(right, targets, 1 - targets)
    outputs = np.eye(2)[answers] * 0.8 + 0.1
    return evaluate(
        lambda given: {"probabilities": outputs[given["i"]]}, {"i": np.arange(rows)}, targets, LABELS,
        ids=[f"{ids}{i}" for i in range(rows)], resamples=200,
    )  # fmt: skip


def spoken(loss: float, bytes_each: int, seed: int = 0, ids: str = "window") -> Report:
    """Return the report of a language model whose tokens have so many bytes, and this loss on average."""
    losses = np.random.default_rng(seed).normal(loss, 0.05, (60, 8)).astype(np.float32)
    # The judge takes the loss from scores: of two tokens, of which the first is right, by their difference.
    logits = np.stack([-np.log(np.expm1(losses)), np.zeros_like(losses)], axis=-1)
    return evaluate(
        lambda given: {"logits": logits[given["i"][:, 0]]}, {"i": np.repeat(np.arange(60)[:, None], 8, axis=1)},
        np.zeros((60, 8), np.int64), Answers.of_language([bytes_each, 1]), ids=[f"{ids} {i}" for i in range(60)],
        resamples=200,
    )  # fmt: skip


def run(path: Path, report: Report, seed: int, fold: int | None = None) -> Path:
    """Write what a finished cell holds."""
    (path / "evaluate").mkdir(parents=True)
    (path / "evaluate" / "report.json").write_text(json.dumps(report.to_json()))
    (path / "evaluate" / "stage.json").write_text("{}")
    (path / "cell.json").write_text(json.dumps({"seed": seed, "fold": fold, "rows": {"train": 1600}}))
    return path


def side(root: Path, name: str, shares: list[float], ids: str = "row", first: int = 0) -> list[Path]:
    return [
        run(root / name / f"seed-{k}", judged(share, 100 * len(name) + k, ids=ids), first + k)
        for k, share in enumerate(shares)
    ]


def test_single_runs_on_the_same_rows_are_paired(tmp_path: Path) -> None:
    one, two = side(tmp_path, "a", [0.9])[0], side(tmp_path, "bb", [0.7])[0]
    found = compare_runs([one, two])
    (verdict,) = found.verdicts.values()
    assert verdict.paired
    assert verdict.real
    assert verdict.p_value is not None
    assert "these trained models" in found.lines()[-1]


def test_single_runs_on_other_rows_are_not(tmp_path: Path) -> None:
    one, two = side(tmp_path, "a", [0.9])[0], side(tmp_path, "bb", [0.6], ids="other")[0]
    (verdict,) = compare_runs([one, two]).verdicts.values()
    assert not verdict.paired
    assert verdict.p_value is None
    assert "different rows" in verdict.text


def test_several_runs_are_compared_across_runs(tmp_path: Path) -> None:
    side(tmp_path, "a", [0.9] * 5)
    side(tmp_path, "bb", [0.7] * 5)
    side(tmp_path, "ccc", [0.9] * 5)
    found = compare_runs([tmp_path / "a", tmp_path / "bb", tmp_path / "ccc"])
    worse, alike = found.verdicts.values()
    assert worse.real
    assert worse.paired
    assert f"really worse, by {-worse.difference:.2g} ({-worse.high:.2g} to {-worse.low:.2g}); p " in worse.text
    assert not alike.real
    assert found.to_json()["runs"] == {str(tmp_path / name): 5 for name in ("a", "bb", "ccc")}
    detail = found.to_json()["verdicts"][str(tmp_path / "bb")]
    assert detail["p_holm"] == pytest.approx(2 * detail["p_value"])
    assert detail["effect"] < 0


def test_runs_of_other_seeds_do_not_pair(tmp_path: Path) -> None:
    one, two = side(tmp_path, "a", [0.9] * 4), side(tmp_path, "bb", [0.7] * 3, first=10)
    found = compare_runs([one, two])
    (verdict,) = found.verdicts.values()
    assert not verdict.paired
    assert verdict.real
    assert "Welch" in verdict.text


def test_folds_pair_by_fold_and_are_corrected(tmp_path: Path) -> None:
    for name, share in (("a", 0.9), ("bb", 0.85)):
        for fold in range(4):
            run(tmp_path / name / f"f{fold}", judged(share, 10 * fold + len(name), ids=f"fold{fold}-"), 0, fold)
    found = compare_runs([tmp_path / "a", tmp_path / "bb"])
    (detail,) = found.to_json()["verdicts"].values()
    assert "Nadeau" in detail["method"]
    assert detail["paired"] is True


def test_language_models_with_other_tokens_are_compared_by_the_byte(tmp_path: Path) -> None:
    """Of tokens of four bytes the loss is higher, and the text is foreseen better all the same."""
    one, two = run(tmp_path / "a", spoken(2.4, 1), 0), run(tmp_path / "b", spoken(4.8, 4, ids="other"), 0)
    (verdict,) = compare_runs([one, two]).verdicts.values()
    assert verdict.metric == "bits_per_byte"
    assert verdict.difference < 0
    assert "really better" in verdict.text
    assert "on different tokens or texts, so by bits_per_byte" in verdict.text
    same = run(tmp_path / "c", spoken(2.8, 1, seed=1), 0)
    (verdict,) = compare_runs([one, same]).verdicts.values()
    assert (verdict.metric, verdict.paired) == ("loss", True)
    sides = [
        [run(tmp_path / f"{n}{k}", spoken(loss, n, seed=k, ids=f"of {n}"), k) for k in range(4)]
        for n, loss in ((1, 2.4), (4, 4.8))
    ]
    (verdict,) = compare_runs(sides).verdicts.values()
    assert verdict.metric == "bits_per_byte"
    assert "really better" in verdict.text
    assert "so by bits_per_byte" in verdict.text


def test_there_is_no_verdict_on_runs_of_unrelated_data(tmp_path: Path) -> None:
    def named(name: str, data: str, share: float, ids: str) -> Path:
        path = side(tmp_path, name, [share], ids=ids)[0]
        (path / "run.json").write_text(json.dumps({"data": data}))
        return path

    base = named("a", "pets", 0.9, "row")
    resplit, unrelated, renamed = (
        named("bb", "pets", 0.6, "other"), named("ccc", "cars", 0.6, "third"), named("dddd", "cars", 0.6, "row")
    )  # fmt: skip
    found = compare_runs([base, resplit, unrelated, renamed])
    verdicts = list(found.verdicts.values())
    assert [verdict.real for verdict in verdicts] == [True, False, True]
    assert "no verdict, for it was judged on other data (cars, not pets)" in verdicts[1].text
    assert "on the same rows" in verdicts[2].text
    several = compare_runs([side(tmp_path, "e", [0.9] * 3), side(tmp_path, "ff", [0.6] * 3)])
    assert "no verdict" not in next(iter(several.verdicts.values())).text, "an older run doesn't name its data"


def test_too_few_runs_conclude_nothing(tmp_path: Path) -> None:
    two = compare_runs([side(tmp_path, "a", [0.9] * 2), side(tmp_path, "bb", [0.6] * 2)])
    one = compare_runs([tmp_path / "a", tmp_path / "bb" / "seed-0"])
    for found in (two, one):
        (verdict,) = found.verdicts.values()
        assert not verdict.real
        assert "too few" in verdict.text


def test_many_single_runs_are_corrected(tmp_path: Path) -> None:
    base = side(tmp_path, "a", [0.9])[0]
    others = [run(tmp_path / f"x{k}", judged(0.9, 1000 + k), k) for k in range(8)]
    found = compare_runs([base, *others])
    for detail in found.to_json()["verdicts"].values():
        assert detail["p_holm"] >= detail["p_value"]
        assert detail["real"] == (detail["p_holm"] < 0.05)


def test_what_answers_another_question_is_refused(tmp_path: Path) -> None:
    one = side(tmp_path, "a", [0.9])[0]
    targets = np.linspace(0, 1, 40)
    number = evaluate(
        lambda given: {"value": targets[given["i"]] + 0.1}, {"i": np.arange(40)}, targets, Answers("y"), resamples=100
    )
    two = run(tmp_path / "n", number, 0)
    with pytest.raises(RunError, match="different data"):
        compare_runs([one, two])
    with pytest.raises(RunError, match="no finished run"):
        compare_runs([one, tmp_path / "nothing"])
    with pytest.raises(InputError, match="nothing to compare with"):
        compare_runs([one])
