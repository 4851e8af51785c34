"""What those who run a server ask: metrics, versions and labels; and how labels are changed while serving."""

from __future__ import annotations

from typing import Any

from bedplate.core.errors import BedplateError, json_kind
from bedplate.serving.body import json_object
from bedplate.serving.dataplane import DataPlane, json_reply
from bedplate.serving.exchange import Ask, Reply
from bedplate.serving.problems import bad_request, from_error, unknown_model
from bedplate.serving.repository import Entry
from bedplate.serving.routes import Route


def routes(plane: DataPlane) -> list[Route]:
    """Return the routes."""

    def entry(ask: Ask) -> Entry:
        name = ask.parameters["name"]
        found = plane.repository.entries.get(name)
        if found is None:
            raise unknown_model(name, sorted(plane.repository.models))
        return found

    async def versions(ask: Ask) -> Reply:
        return json_reply(versions_of(entry(ask)))

    async def set_label(ask: Ask) -> Reply:
        version = json_object(ask.body).get("version")
        if type(version) is not int or version < 0:
            raise bad_request(f"version: expected a whole number, received {json_kind(version)}")
        return await change(ask, version)

    async def remove_label(ask: Ask) -> Reply:
        return await change(ask, None)

    async def change(ask: Ask, version: int | None) -> Reply:
        name, label = ask.parameters["name"], ask.parameters["label"]
        try:
            labels = await plane.manage("set_label", name=name, label=label, version=version)
        except BedplateError as error:
            raise from_error(error) from error
        return json_reply({"name": name, "labels": labels})

    async def metrics(_: Ask) -> Reply:
        text = plane.metrics.text() if plane.hub is None else await plane.hub.metrics()
        return Reply(text, media_type=plane.metrics.content_type.encode())

    return [
        Route("GET", "/metrics", metrics, role="metrics"),
        Route("GET", "/monitoring/prometheus/metrics", metrics, role="metrics"),
        Route("GET", "/models/{name}/versions", versions),
        Route("PUT", "/models/{name}/labels/{label}", set_label, role="manage"),
        Route("DELETE", "/models/{name}/labels/{label}", remove_label, role="manage"),
    ]


def versions_of(entry: Entry) -> dict[str, Any]:
    """Return a name's versions with their states, the newest first, and its labels."""
    return {
        "name": entry.name,
        "labels": entry.labels,
        "versions": [
            {
                "version": number,
                "state": version.state.value,
                "bundle": version.model.bundle.id if version.model else None,
                **({"error": version.error} if version.error else {}),
            }
            for number, version in sorted(entry.versions.items(), reverse=True)
        ],
        **({"problem": entry.problem} if entry.problem else {}),
    }
