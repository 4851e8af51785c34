"""Every method alone, then one search beside other tools: `methods.py` and `peers.py`, without arguments.

BEDPLATE_DATA=… python -m benchmarks.compression
"""

from __future__ import annotations

import sys

from benchmarks.compression import methods, peers

if len(sys.argv) > 1:
    raise SystemExit(f"{__doc__}\nFor arguments: python -m benchmarks.compression.methods, or … .peers")
methods.main()
peers.main()
