"""Write `report.html`: one self-contained file, without scripts, from a `Story` (see `bedplate.evaluation.story`)."""

from __future__ import annotations

import base64
import binascii

import jinja2
from markupsafe import Markup

from bedplate.evaluation.story import Story
from bedplate.evaluation.view import human_bytes, plain, view


def render(story: Story) -> str:
    """Return the whole page. Every text of the story is escaped; nothing is loaded from anywhere.

    Args:
        story: see `bedplate.evaluation.story`; what is not given is left out of the page.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bedplate.evaluation"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": plain, "bytes": human_bytes, "picture": picture}
    return environment.get_template("report.html.j2").render(**view(story))


def picture(data: object) -> Markup:
    """Return a base64 PNG as an address; anything but base64 of a PNG is refused, and shows nothing."""
    try:
        known = base64.b64decode(str(data), validate=True).startswith(b"\x89PNG\r\n")
    except (binascii.Error, ValueError):
        known = False
    return Markup(f"data:image/png;base64,{data}") if known else Markup("data:,")  # noqa: S704 - checked base64
