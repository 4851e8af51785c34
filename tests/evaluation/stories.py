"""Two whole stories from real models on scikit-learn's data, for the tests of the page and the card."""

from __future__ import annotations

import base64
import io
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression

from bedplate.codecs.answers import Answers
from bedplate.data.images import load_images
from bedplate.data.profile import image_profile
from bedplate.evaluation import evaluate
from bedplate.recipe.schema import DataSpec


def png(pixels: np.ndarray) -> str:
    """An image as a base64 PNG."""
    out = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def history(epochs: int, start: float, end: float) -> list[dict[str, float]]:
    """A plausible training history."""
    rng = np.random.default_rng(0)
    found = []
    for epoch in range(1, epochs + 1):
        fall = np.exp(-4 * epoch / epochs)
        train = end * 0.6 + (start - end) * fall
        validation = end + (start - end) * fall * 0.9 + 0.02 * start * abs(rng.normal())
        figures = {"train_loss": train, "validation_loss": validation, "validation_accuracy": 0.98 - 0.5 * fall}
        found.append({"epoch": epoch, **figures, "learning_rate": 1e-3, "seconds": 1.5 * epoch})
    return found


@cache
def digits() -> dict[str, Any]:
    """Digits by logistic regression: images, classes, pictures of mistakes, variants."""
    data = load_images(DataSpec(source="digits"), 7, base=Path(), announce=lambda _: None)
    train, test = data.train, data.test

    def flat(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1) / 255.0

    model = LogisticRegression(max_iter=300, C=0.2).fit(flat(train.inputs["image"]), train.targets)
    report = evaluate(
        lambda rows: {"probabilities": model.predict_proba(flat(rows["image"])).astype(np.float32)},
        test.inputs,
        test.targets,
        data.answers,
        ids=test.ids,
        slices={"ink": np.where(test.inputs["image"].mean(axis=(1, 2, 3)) > 80, "heavy", "light")},
    )
    return {
        "title": "digits",
        "task": "image-classification",
        "created": "2026-03-01T12:30:00+00:00",
        "primary": "accuracy",
        "rows": {"train": len(train), "validation": len(data.validation), "test": len(test)},
        "metrics": {name: one.to_json() for name, one in report.metrics.items()},
        "baselines": {
            "majority class": {"accuracy": 0.1037, "log_loss": 2.303, "f1": 0.019},
            "logistic regression (5,000 rows)": {"accuracy": 0.9481, "log_loss": 0.214, "f1": 0.947},
        },
        "history": history(12, 2.1, 0.08),
        "best_epoch": 11,
        "model": {
            "name": "cnn",
            "arguments": {"widths": [32, 64, 64], "batch_norm": True},
            "parameters": 93322,
            "objective": "cross-entropy",
        },
        "recipe_yaml": "name: digits\nseed: 7\n",
        "report": report.to_json(),
        "profile": dict(data.profile),
        "pictures": {str(one["row"]): png(test.inputs["image"][one["row"]]) for one in report.worst},
        "variants": [
            {
                "name": "f32",
                "kept": True,
                "reason": "the reference: runs everywhere",
                "size_bytes": 431_212,
                "latency_ms": {"median": 0.231, "p95": 0.262},
                "metrics": {"accuracy": 0.9815},
            },
            {
                "name": "int8-static",
                "kept": True,
                "reason": "0.27× the size, 0.71× its latency; loses at most 0.60 points",
                "size_bytes": 116_404,
                "latency_ms": {"median": 0.164, "p95": 0.201},
                "metrics": {"accuracy": 0.9778},
            },
            {
                "name": "int8-dynamic",
                "kept": False,
                "reason": "neither smaller nor faster: 0.97× the size",
                "size_bytes": 418_100,
                "latency_ms": {"median": 0.236, "p95": 0.27},
                "metrics": {"accuracy": 0.9815},
            },
            {
                "name": "pruned",
                "kept": False,
                "reason": "nothing to prune in this graph",
                "size_bytes": 0,
                "latency_ms": None,
                "metrics": {},
            },
        ],
        "default": "int8-static",
        "latency": [
            {"batch": 1, "median ms": 0.164, "rows a second": 6098.0},
            {"batch": 32, "median ms": 1.84, "rows a second": 17391.0},
        ],
        "provenance": {
            "recipe_fingerprint": "4be1…",
            "data": {"name": "digits", "fingerprint": data.fingerprint},
            "machine": {"cpu": "a processor", "features": ["avx2", "fma"], "threads": 2},
            "seed": 7,
        },
        "notes": list(data.notes),
    }


@cache
def diabetes() -> dict[str, Any]:
    """Diabetes by linear regression, where a baseline wins."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    names = load_diabetes().feature_names
    model = LinearRegression().fit(x[:300, 2:5], y[:300])
    test = np.arange(300, len(y))
    report = evaluate(
        lambda rows: {"value": model.predict(x[rows["i"]][:, 2:5]).astype(np.float32)},
        {"i": test},
        y[test],
        Answers("progression"),
        ids=[f"diabetes:{i}" for i in test],
        slices={"sex": np.where(x[test, 1] > 1.5, "2", "1")},
    )
    columns = []
    for k, name in enumerate(names):
        counts, edges = np.histogram(x[:300, k], 20)
        columns.append(
            {
                "name": name,
                "type": "number",
                "reason": "every value is a number",
                "used": True,
                "missing": 3 * k,
                "distinct": len(np.unique(x[:300, k])),
                "min": float(x[:, k].min()),
                "mean": float(x[:, k].mean()),
                "max": float(x[:, k].max()),
                "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
            }
        )
    columns.append(
        {
            "name": "clinic",
            "type": "category",
            "reason": "few distinct texts",
            "used": True,
            "missing": 0,
            "distinct": 4,
            "top": [["north side", 140], ["south side", 90], ["harbour", 60], ["hill", 10]],
        }
    )
    columns.append(
        {
            "name": "patient_id",
            "type": "identifier",
            "reason": "every value differs",
            "used": False,
            "missing": 0,
            "distinct": 300,
            "top": [],
        }
    )
    counts, edges = np.histogram(y[:300], 20)
    return {
        "title": "diabetes-progression",
        "task": "tabular-regression",
        "created": "2026-03-01T12:30:00+00:00",
        "primary": "rmse",
        "rows": {"train": 300, "validation": 0, "test": len(test)},
        "metrics": {name: one.to_json() for name, one in report.metrics.items()},
        "baselines": {
            "mean": {"rmse": 75.2, "mae": 64.1, "r2": -0.01},
            "linear regression": {"rmse": 53.4, "mae": 43.1, "r2": 0.48},
        },
        "history": [{k: v for k, v in one.items() if k != "validation_accuracy"} for one in history(30, 9000, 3000)],
        "best_epoch": 24,
        "report": report.to_json(),
        "profile": {
            "kind": "table",
            "rows": {"train": 300, "validation": 0, "test": len(test)},
            "balance": None,
            "columns": columns,
            "target": {
                "name": "progression",
                "type": "number",
                "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
            },
            "duplicates": 2,
            "overlap": {"validation_in_train": 0, "test_in_train": 2, "test_in_validation": 0},
            "skipped": [{"row": "data.csv:17", "reason": "ragged: 9 fields, expected 11"}],
            "skipped_rows": 1,
            "examples": [{"age": 59, "sex": "2", "bmi": 32.1, "progression": 151.0}],
        },
        "provenance": {"seed": 0},
        "notes": ["'patient_id' was set aside: every value differs"],
    }


def empty_profile() -> dict[str, Any]:
    """The smallest profile of images."""
    return image_profile(
        rows={"train": 1}, sizes=Counter(), modes=Counter(), labels={}, duplicates=0, overlap={}, skipped=()
    )
