"""Made-up reviews that a small model can learn: good and bad words among neutral ones."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import numpy as np

GOOD = ["wonderful", "moving", "brilliant", "charming", "superb", "delightful"]
BAD = ["dull", "awful", "tedious", "clumsy", "dreadful", "lifeless"]
NEUTRAL = [
    "the",
    "film",
    "and",
    "its",
    "plot",
    "with",
    "a",
    "cast",
    "that",
    "was",
    "shot",
    "in",
    "one",
    "town",
    "by",
    "two",
    "people",
    "who",
    "know",
    "each",
    "other",
]


def reviews(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return (text, label) pairs; a text is good or bad by the one word that says so."""
    draw = np.random.default_rng(seed)
    found = []
    for row in range(rows):
        label = "good" if row % 2 else "bad"
        words = list(draw.choice(NEUTRAL, draw.integers(5, 30)))
        words.insert(int(draw.integers(0, len(words))), str(draw.choice(GOOD if label == "good" else BAD)))
        found.append((" ".join(words) + f" {row}.", label))
    return found


def as_table(path: Path, rows: int, *, text: str = "review", target: str = "sentiment", delimiter: str = ",") -> Path:
    """Write reviews as a table."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter)
    writer.writerow([text, target])
    writer.writerows(reviews(rows))
    path.write_text(buffer.getvalue(), encoding="utf-8")
    return path


def as_folders(path: Path, rows: int, *, split: str = "") -> Path:
    """Write reviews as files in a folder for each class."""
    for number, (text, label) in enumerate(reviews(rows, seed=len(split))):
        folder = path / split / label
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(f"{split} {text}", encoding="utf-8")
    return path


def as_archive(path: Path, rows: int) -> Path:
    """Write reviews as an archive with official splits."""
    with tarfile.open(path, "w:xz") as archive:
        for split, many in (("train", rows), ("test", rows // 2)):
            for number, (text, label) in enumerate(reviews(many, seed=len(split))):
                data = f"{split} {text}".encode()
                info = tarfile.TarInfo(f"corpus/{split}/{label}/{number}.txt")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path
