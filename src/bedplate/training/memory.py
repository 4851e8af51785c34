"""Keep freed memory instead of giving it back to the system between two steps.

A training step frees and asks for the same large tensors again and again. By default the C library hands each of them
back to the kernel, which then clears every page anew: on the machine of docs/training.md that cost 40 % of a step.
"""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # mallopt(3)
_LARGEST_KEPT = 32 << 20  # glibc's upper limit for blocks that come from the heap


@cache
def keep_freed_memory() -> bool:
    """Tell the C library to keep freed blocks of up to 32 MiB for the next allocation, for the whole process.

    Returns:
        Whether it could be told: glibc can (mallopt), other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST_KEPT), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20))
    return all(mallopt(option, value) == 1 for option, value in settings)
