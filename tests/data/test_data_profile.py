from __future__ import annotations

import json
from collections import Counter

import numpy as np

from bedplate.codecs.columns import ColumnSchema, read_columns
from bedplate.data.profile import image_profile, table_profile

COLUMNS = [
    ColumnSchema("n", "number", ".", reason="numbers"),
    ColumnSchema("k", "category", "text"),
    ColumnSchema("d", "date", "ymd"),
    ColumnSchema("t", "date", "clock"),
    ColumnSchema("id", "identifier"),
    ColumnSchema("c", "constant"),
]
RAW = {
    "n": ["1", "2", "", "4"], "k": ["a", "a", "b", "NA"], "d": ["2020-01-01", "2020-01-03", "", "2020-01-03"],
    "t": ["10:00", "12:30", "", ""], "id": ["u", "v", "w", "x" * 200], "c": ["same"] * 4,
}  # fmt: skip


def profile(labels: tuple[str, ...] | None, targets: np.ndarray) -> dict[str, object]:
    return table_profile(
        rows={"train": 4, "validation": 1, "test": 1}, columns=COLUMNS, raw=RAW, inputs=read_columns(RAW, COLUMNS).tensors,
        targets=targets, target="y", labels=labels, duplicates=2, overlap={"test_in_train": 1},
        skipped=[(f"t.csv:{i}", "bad") for i in range(150)],
    )  # fmt: skip


def test_a_tables_profile_says_what_was_seen() -> None:
    found = json.loads(json.dumps(profile(("no", "yes"), np.array([0, 1, 1, 1])), allow_nan=False))
    columns = {column["name"]: column for column in found["columns"]}
    number = columns["n"]
    assert (number["missing"], number["distinct"], number["min"], number["max"], number["used"]) == (1, 3, 1, 4, True)
    assert sum(number["histogram"]["counts"]) == 3
    assert len(number["histogram"]["edges"]) == len(number["histogram"]["counts"]) + 1
    assert columns["k"]["top"] == [["a", 2], ["b", 1]]
    assert (columns["d"]["min"], columns["d"]["max"], columns["d"]["missing"]) == ("2020-01-01", "2020-01-03", 1)
    assert columns["t"]["max"] == 12.5
    assert (columns["id"]["top"], columns["id"]["distinct"], columns["id"]["used"]) == ([], 4, False)
    assert found["balance"] == {"no": 1, "yes": 3}
    assert (found["duplicates"], found["skipped_rows"], len(found["skipped"])) == (2, 150, 100)
    assert [row["y"] for row in found["examples"]] == ["no", "yes", "yes", "yes"]
    assert len(found["examples"][3]["id"]) == 80


def test_number_targets_have_a_histogram_instead_of_a_balance() -> None:
    found = profile(None, np.array([1.5, 2.5, 3.5, 1e300]))
    assert found["balance"] is None
    assert found["target"]["max"] == 1e300  # type: ignore[index]


def test_an_image_profile_counts_sizes_and_modes() -> None:
    sizes = Counter({(8, 8): 5, **{(100 + i, 50): 1 for i in range(12)}})
    found = image_profile(
        rows={"train": 17}, sizes=sizes, modes=Counter({"RGB": 16, "L": 1}), labels={"a": 9, "b": 8}, duplicates=0, overlap={},
        skipped=[("x.png", "truncated")],
    )  # fmt: skip
    assert found["sizes"][0] == ["8×8", 5]
    assert found["sizes"][-1] == ["other", 3]
    assert sum(times for _, times in found["sizes"]) == 17
    assert found["modes"] == [["RGB", 16], ["L", 1]]
    assert found["skipped"] == [{"row": "x.png", "reason": "truncated"}]
