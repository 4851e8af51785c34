"""Every bad input that Bedplate is tested with, as data: what is sent, how it is built, and what must come back.

`tests/house/test_bad_inputs.py` sends each and checks the answer; `tools/bad_inputs.py` sends each and writes
`docs/bad-inputs.md`.
"""

from __future__ import annotations

from tools.bad_input_cases import boxes, folders, http, images, recipes, sequences, tables, trials
from tools.bad_input_cases.case import Case, Place, Request

CASES: tuple[Case, ...] = (
    *recipes.CASES,
    *tables.CASES,
    *images.CASES,
    *folders.CASES,
    *sequences.CASES,
    *boxes.CASES,
    *trials.CASES,
)
"""What is sent to the command line."""

REQUESTS: tuple[Request, ...] = http.REQUESTS
"""What is sent to a server."""

__all__ = ["CASES", "REQUESTS", "Case", "Place", "Request"]
