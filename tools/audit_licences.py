"""Audit the licences of what is installed with Bedplate: each must be one that a product may depend on."""

from __future__ import annotations

import json
import re
import subprocess
import sys

ALLOWED = re.compile(
    r"apache|\bmit\b|bsd|psf|python software foundation|\bisc\b|mpl|mozilla|unlicense|zlib|hpnd|cc0|public domain",
    re.IGNORECASE,
)
KNOWN = {
    # Packages whose metadata names no licence in a form that can be matched: checked by hand.
    "bedplate": "Apache-2.0",
}


def main() -> int:
    """Print what is not allowed, and return 1 if there is any."""
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--from=mixed"]
    packages = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    bad = [
        f"{package['Name']} {package['Version']}: {package['License'][:80]}"
        for package in packages
        if not ALLOWED.search(KNOWN.get(package["Name"], package["License"]))
    ]
    for line in bad:
        print(f"licence not allowed: {line}")
    print(f"{len(packages)} packages audited, {len(bad)} not allowed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
