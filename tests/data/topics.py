"""Made-up notes of which each tells of some subjects, or of none: the words say which."""

from __future__ import annotations

import json
import random
from pathlib import Path

SUBJECTS = {
    "sport": ("match", "goal", "referee", "league"),
    "money": ("bank", "shares", "profit", "interest"),
    "weather": ("rain", "storm", "sunny", "frost"),
}
FILLER = ("today", "they", "said", "that", "the", "and", "about", "again", "people", "there")


def notes(rows: int, seed: int = 0) -> list[tuple[str, list[str]]]:
    """Return texts with their subjects, of which a row has none to three."""
    draw = random.Random(seed)
    found = []
    for _ in range(rows):
        subjects = [name for name in SUBJECTS if draw.random() < 0.4]
        words = [draw.choice(FILLER) for _ in range(8)] + [draw.choice(SUBJECTS[name]) for name in subjects]
        draw.shuffle(words)
        found.append((" ".join(words), subjects))
    return found


def as_json_lines(path: Path, rows: int, seed: int = 0) -> Path:
    lines = [json.dumps({"note": text, "subjects": subjects}) for text, subjects in notes(rows, seed)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def as_indicators(path: Path, rows: int, seed: int = 0) -> Path:
    lines = [
        f'"{text}",{",".join(str(int(name in subjects)) for name in SUBJECTS)}' for text, subjects in notes(rows, seed)
    ]
    path.write_text("\n".join([f"note,{','.join(SUBJECTS)}", *lines, ""]), encoding="utf-8")
    return path


def as_csv(path: Path, rows: int, sign: str = "|", seed: int = 0) -> Path:
    lines = [f'"{text}","{sign.join(subjects)}"' for text, subjects in notes(rows, seed)]
    path.write_text("\n".join(["note,subjects", *lines, ""]), encoding="utf-8")
    return path
