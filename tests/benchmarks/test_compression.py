"""The parts of the compression benchmarks that could flatter: the verdicts, and what the tables say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from benchmarks.compression import fronts, methods, peers
from benchmarks.compression.judging import Comparison, Figures, compared, middle, same_accuracy, verdict
from benchmarks.compression.roster import PEERS

from bedplate.compression.measure import Latency


def figures(name: str, size: int, drop_high: float = 0.1, **latency: float) -> Figures:
    return Figures(name, size, Latency(1.0, 1.2, 200, **latency), 0.99, 0.0, drop_high)


ORIGINAL = figures("original", 1000, 0.0)
FASTER = {"ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.6}
LIKE = {"ratio": 1.0, "ratio_low": 0.9, "ratio_high": 1.1}


def test_a_method_gains_where_it_is_smaller_or_surely_faster_within_the_budget() -> None:
    assert verdict(figures("a", 500, **FASTER), ORIGINAL) == ("gain", "smaller and faster")
    assert verdict(figures("a", 500, **LIKE), ORIGINAL) == ("gain", "smaller, not faster")
    assert verdict(figures("a", 1000, **FASTER), ORIGINAL) == ("gain", "faster, not smaller")


def test_a_method_that_is_neither_smaller_nor_surely_faster_gains_nothing() -> None:
    word, why = verdict(figures("a", 990, **LIKE), ORIGINAL)
    assert word == "no gain"
    assert "0.99× the size" in why


def test_what_is_no_faster_than_the_same_graph_once_more_is_not_faster() -> None:
    near = figures("a", 1000, ratio=0.98, ratio_low=0.97, ratio_high=0.99)
    assert verdict(near, ORIGINAL)[0] == "gain"
    assert verdict(near, ORIGINAL, floor=0.98)[0] == "no gain"


def test_a_method_harms_whose_bound_is_over_the_budget_or_whose_rows_depend_on_each_other() -> None:
    assert verdict(figures("a", 500, 0.51, **FASTER), ORIGINAL)[0] == "harm"
    beside = Figures("a", 500, Latency(1, 1, 200, 0.5, 0.4, 0.6), 0.99, 0.0, 0.1, dependence=0.01)
    assert verdict(beside, ORIGINAL) == ("harm", "a row's answer depends on the rows beside it (by 0.01)")


def one_against(mine: Figures, ratio: tuple[float, float, float], p: float, peer: Figures) -> Comparison:
    return compared([mine], peer, {mine.name: ratio}, {mine.name: p})


def test_ours_dominates_where_nothing_is_worse_and_something_is_better() -> None:
    peer = figures("peer", 500, 0.2)
    assert one_against(figures("a", 400, 0.2), (1.0, 0.9, 1.1), 0.0, peer).word == "dominates"
    assert one_against(figures("a", 500, 0.2), (0.8, 0.7, 0.9), 0.0, peer).word == "dominates"
    assert one_against(figures("a", 500, 0.1), (1.0, 0.9, 1.1), 0.0, peer).word == "dominates"


def test_ours_equals_where_all_is_equal_or_only_the_bound_is_higher_by_chance() -> None:
    peer = figures("peer", 500, 0.2)
    assert one_against(figures("a", 500, 0.2), (1.0, 0.9, 1.1), 1.0, peer).word == "equals"
    assert one_against(figures("a", 400, 0.3), (0.8, 0.7, 0.9), 0.05, peer).word == "equals"


@pytest.mark.parametrize(
    ("mine", "ratio", "p", "lacks"),
    [
        (figures("a", 501, 0.1), (0.5, 0.4, 0.6), 1.0, ("size",)),
        (figures("a", 400, 0.1), (1.2, 1.01, 1.4), 1.0, ("latency",)),
        (figures("a", 400, 0.3), (0.5, 0.4, 0.6), 0.049, ("accuracy",)),
        (figures("a", 501, 0.3), (1.2, 1.01, 1.4), 0.0, ("size", "latency", "accuracy")),
    ],
)
def test_ours_is_behind_where_anything_is_worse(
    mine: Figures, ratio: tuple[float, float, float], p: float, lacks: tuple[str, ...]
) -> None:
    found = one_against(mine, ratio, p, figures("peer", 500, 0.2))
    assert (found.word, found.lacks) == ("behind", lacks)
    assert f"lacks {' and '.join(lacks)}" in peers.told(found)


def test_the_best_of_our_points_is_compared() -> None:
    points = [figures("small", 300, 0.9), figures("both", 400, 0.1), figures("large", 900, 0.1)]
    ratios = {"small": (0.3, 0.2, 0.4), "both": (0.6, 0.5, 0.7), "large": (0.9, 0.8, 1.0)}
    found = compared(points, figures("peer", 500, 0.2), ratios, {"small": 0.0, "both": 1.0, "large": 1.0})
    assert (found.word, found.name) == ("dominates", "both")


def test_equal_accuracy_is_mcnemars() -> None:
    targets = np.zeros(20, np.int64)
    right = np.tile([0.9, 0.1], (20, 1))
    wrong = right.copy()
    wrong[:10] = [0.1, 0.9]
    assert same_accuracy(right, right, targets) == 1.0
    assert same_accuracy(right, wrong, targets) == pytest.approx(2 * 0.5**10)


MACHINE: dict[str, Any] = {
    "machine": {"cpu": "a processor", "threads": 2, "versions": {"python": "3.11"}},
    "date": "2026-01-01",
    "rounds": 200,
}


def test_the_table_of_methods_tells_what_was_refused_and_why() -> None:
    facts = {"parameters": 10, "macs": 2_000_000, "lzma_bytes": 900}
    reference = {"group": "", "method": "original", "verdict": "", "reason": "the reference", **ORIGINAL.to_json()}
    zeros = {
        "group": "zeros",
        "method": "90 %",
        "verdict": "no gain",
        "reason": "neither",
        **figures("z", 1000).to_json(),
    }
    none = {"group": "blocks", "method": "one", "verdict": "not possible", "reason": "there is none"}
    rows = [{**reference, **facts}, {**zeros, **facts}, none]
    text = methods.table({**MACHINE, "model": "m", "test_rows": 10, "max_drop": 0.5, "rows": rows})
    assert "| 90 % | 10 | 2.00 M | 1.0 | 0.9 |" in text
    assert "**no gain**: neither" in text
    assert "not possible: there is none" in text
    assert "Other work ran beside" in text


def test_the_table_of_peers_counts_verdicts_and_tells_what_is_missing() -> None:
    verdicts = {
        "T: one": vars(Comparison("dominates", "ours: a", (0.5, 0.4, 0.6), ())),
        "T: two": vars(Comparison("behind", "ours: a", (1.2, 1.1, 1.3), ("latency",))),
    }
    model = {
        **MACHINE, "test_rows": 10, "epochs": 3, "search": {"seconds": 5, "students_known": 0, "reused": False, "effort": "quick"}, "verdicts": verdicts,
        "peers": {"T": {"graphs": {"three": {"failed": "no"}}}, "U": {"missing": "can't be installed"}},
        "figures": [one.to_json() for one in (ORIGINAL, figures("T: one", 500), figures("T: two", 500))],
    }  # fmt: skip
    text = peers.table({"models": {"m": model}})
    assert "ours dominates 1 and equals 0; it is behind T: two." in text
    assert "`a` dominates it: 0.50× its time (0.40–0.60)" in text
    assert "| T: three | | | | | | failed: no |" in text
    assert "| U | | | | | | can't be installed |" in text


def test_every_peer_has_its_program_and_pinned_packages() -> None:
    for peer in PEERS:
        assert (peers.PROGRAMS / peer.file).is_file()
        named = [package for package in peer.packages if not package.startswith(("--", "/"))]
        assert all("==" in package for package in named)


def test_of_three_passes_the_one_with_the_middle_ratio_is_told() -> None:
    passes = [Latency(1.0, 1.0, 200, ratio, ratio - 0.1, ratio + 0.1) for ratio in (0.9, 1.3, 1.0)]
    assert middle(passes) is passes[2]
    assert middle([Latency(2.0, 2.0, 200), Latency(1.0, 1.0, 200), Latency(3.0, 3.0, 200)]).median == 2.0


def test_fronts_say_where_and_when_each_was_measured() -> None:
    told = {"cpu": "one", "threads": 2, "date": "2026-11-26", "beside": "nothing beside"}
    metric = {"value": 0.9, "drop": 0.0, "drop_high": 0.1}
    point = {
        "name": "original",
        "size_bytes": 10,
        "latency_ms": {"median": 1.0, "p95": 2.0},
        "metric": metric,
        "steps": [],
    }
    figures = {"baseline": point, "front": [point], "chosen": "original", "feasible": True, "budget": {"max_drop": 0.5}}
    later = figures | {"machine": told | {"date": "2026-11-27"}}
    page = fronts.table({"a": {"drop": figures | {"machine": told}, "size": later}, "b": {"drop": later}})
    assert "- a: one, 2 threads, 2026-11-26, nothing beside; then one, 2 threads, 2026-11-27, nothing beside" in page
    assert page.endswith("- b: one, 2 threads, 2026-11-27, nothing beside")
