"""Seeds: every consumer of randomness gets its own stream, derived from one seed and a name.

Streams are independent of the order in which they are asked for, so adding a consumer changes no other one.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the consumer called `names` (for instance `derive(7, "shuffle", epoch)`)."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return NumPy's generator for the consumer called `names`."""
    return np.random.default_rng(derive(seed, *names))
