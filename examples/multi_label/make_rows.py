"""Turn sentences with tagged words (CoNLL columns) into texts with several labels: which kinds of names each holds.

    python make_rows.py conll2002.zip esp rows/

writes rows/train.jsonl, rows/validation.jsonl and rows/test.jsonl, a line `{"text": …, "kinds": ["LOC", "PER"]}` each.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

PARTS = {"train": "train", "validation": "testa", "test": "testb"}


def sentences(columns: str) -> Iterator[dict[str, object]]:
    """Yield each sentence's text and the kinds of names in it; its words come first in a line, its tags last."""
    for block in columns.split("\n\n"):
        lines = [line.split() for line in block.splitlines() if line.strip() and not line.startswith("-DOCSTART-")]
        if lines:
            kinds = sorted({cells[-1][2:] for cells in lines if cells[-1] != "O"})
            yield {"text": " ".join(cells[0] for cells in lines), "kinds": kinds}


def main(archive: str, language: str, folder: str) -> None:
    """Write the three files."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as opened:
        for part, name in PARTS.items():
            member = next(one for one in opened.namelist() if Path(one).name == f"{language}.{name}")
            rows = sentences(opened.read(member).decode("utf-8"))
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (out / f"{part}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
