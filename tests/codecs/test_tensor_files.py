"""Rows for a tensor codec come out of arrays and JSON alike, or the file is named with its fault."""

import io
from pathlib import Path

import numpy as np
import pytest

from bedplate.codecs.tensor_files import read_tensors
from bedplate.core.errors import PayloadError


def test_npz_npy_and_json_give_the_same_rows(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.savez(tmp_path / "rows.npz", x=array, n=np.arange(3))
    np.save(tmp_path / "rows.npy", array)
    (tmp_path / "rows.json").write_text("[[0, 1], [2, 3], [4, 5]]")
    (tmp_path / "rows.jsonl").write_text('{"x": [0, 1]}\n{"x": [2, 3]}\n')
    named = list(read_tensors(tmp_path / "rows.npz"))
    assert [name for name, _ in named] == ["rows.npz:1", "rows.npz:2", "rows.npz:3"]
    assert [(row["x"].tolist(), int(row["n"])) for _, row in named] == [([0, 1], 0), ([2, 3], 1), ([4, 5], 2)]
    assert [row.tolist() for _, row in read_tensors(tmp_path / "rows.npy")] == array.tolist()
    assert [row for _, row in read_tensors(tmp_path / "rows.json")] == array.tolist()
    assert list(read_tensors(tmp_path / "rows.jsonl")) == [
        ("rows.jsonl:1", {"x": [0, 1]}),
        ("rows.jsonl:2", {"x": [2, 3]}),
    ]
    assert list(read_tensors(b"[[1]]", "standard input")) == [("standard input:1", [1])]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(2), y=np.zeros(3))
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    for data, words in (
        (buffer.getvalue(), "equally many"), (buffer.getvalue()[:60], "not readable arrays"),
        (pickled.getvalue(), "not readable arrays"), (b"{", "JSON"), (b"\xff\xfe\x00", "."),
    ):  # fmt: skip
        with pytest.raises(PayloadError, match=words):
            list(read_tensors(data))
    with pytest.raises(PayloadError, match="can't be read"):
        list(read_tensors(tmp_path / "absent.json"))
