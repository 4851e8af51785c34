"""What training sets for its whole process, and puts back: threads, deterministic algorithms, no slow denormals."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from bedplate.training import keep_freed_memory


@contextlib.contextmanager
def configured_torch(threads: int) -> Iterator[None]:
    """Set what training relies on: the thread count, deterministic algorithms, and no slow denormal numbers.

    All three hold for the whole process, so they are put back: a caller from Python goes on as before.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    deterministic = torch.utils.deterministic
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=False)
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a pass over each new tensor
    keep_freed_memory()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.set_flush_denormal(False)
