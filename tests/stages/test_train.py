"""Training leaves the process as it found it: a caller from Python goes on as before."""

from __future__ import annotations

from pathlib import Path

import torch

from bedplate import pipeline


def test_torchs_settings_are_put_back(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    pipeline.run_stage(
        "train", "wine", tmp_path / "run", mode="new", overrides=["training.epochs=1", "training.threads=1"]
    )
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert (torch.tensor(1e-39) * 0.5).item() > 0, "denormal numbers are flushed to zero for the whole process"
