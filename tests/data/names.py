"""Made-up sentences with names that a small tagger can learn: who was where, and for which firm."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PEOPLE = ["Ana", "José", "Marta", "Iker", "Lucía", "Pablo"]
FAMILIES = ["García", "Núñez", "Ibarra", "Soler"]
PLACES = ["Quito", "Lima", "Vigo", "San Luis", "Santa Fe"]
FIRMS = ["EFE", "Banco Sur", "Telsa SA"]


def sentence(draw: np.random.Generator) -> list[tuple[str, str]]:
    """Return one sentence's words with their tags."""
    found: list[tuple[str, str]] = []

    def name(text: str, kind: str) -> None:
        found.extend((word, f"{'I' if k else 'B'}-{kind}") for k, word in enumerate(text.split()))

    def say(text: str) -> None:
        found.extend((word, "O") for word in text.split())

    if draw.random() < 0.3:
        say("ayer")
    name(f"{draw.choice(PEOPLE)} {draw.choice(FAMILIES)}" if draw.random() < 0.5 else str(draw.choice(PEOPLE)), "PER")
    say(str(draw.choice(["viajó a", "nació en", "vive hoy en"])))
    name(str(draw.choice(PLACES)), "LOC")
    if draw.random() < 0.5:
        say(str(draw.choice(["y trabaja para", "con gente de"])))
        name(str(draw.choice(FIRMS)), "ORG")
    say(f"desde {draw.integers(1900, 2030)} .")
    return found


def as_conll(path: Path, rows: int, seed: int = 0, *, middle: str = "X ", encoding: str = "utf-8") -> Path:
    """Write sentences as CoNLL columns."""
    draw = np.random.default_rng(seed)
    texts = ["".join(f"{word} {middle}{tag}\n" for word, tag in sentence(draw)) for _ in range(rows)]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(("-DOCSTART- X O\n\n" + "\n".join(texts)).encode(encoding))
    return path
