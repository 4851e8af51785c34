"""Keep freed memory instead of giving it back to the system between two steps, in large pages where there are some.

A training step frees and asks for the same large tensors again and again. By default the C library hands each of them
back to the kernel, which then clears every page anew: on the machine of docs/training.md that took 40 % of a step.
"""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # mallopt(3)
_LARGEST_KEPT = 32 << 20  # glibc's upper limit for blocks that come from the heap
_BLOCK, _BLOCKS = 16 << 20, 16
_LARGE_PAGE, _MADV_HUGEPAGE = 2 << 20, 14


@cache
def keep_freed_memory() -> bool:
    """Tell the C library to keep freed blocks of up to 32 MiB for the next allocation, for the whole process.

    The first 256 MiB of what is kept are also offered to the kernel for large pages; they take no memory until used.

    Returns:
        Whether it could be told: glibc can (mallopt), other C libraries are left as they are.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt = library.mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST_KEPT), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20))
    kept = all(mallopt(option, value) == 1 for option, value in settings)
    if kept:
        _advise_large_pages(library)
    return kept


def _advise_large_pages(library: ctypes.CDLL) -> None:
    """Grow the heap by blocks that are freed at once, and advise large pages for where they lay (madvise(2))."""
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    blocks = [block for block in (library.malloc(_BLOCK) for _ in range(_BLOCKS)) if block]
    for block in blocks:
        first = -(-block // _LARGE_PAGE) * _LARGE_PAGE
        # A kernel without large pages answers with an error, which changes nothing.
        library.madvise(first, (block + _BLOCK - first) // _LARGE_PAGE * _LARGE_PAGE, _MADV_HUGEPAGE)
    for block in blocks:
        library.free(block)
