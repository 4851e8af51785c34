"""KServe's V1 protocol where it isn't TensorFlow Serving's."""

from __future__ import annotations

import httpx
from tests.bundle.boxes import images
from tests.serving.running import running

from bedplate.bundle import Bundle


def test_what_is_served_and_whether_it_is_ready(client: httpx.Client) -> None:
    assert client.get("/v1/models").json()["models"] == ["prices", "small"]
    status = client.get("/v1/models/small").json()
    assert (status["name"], status["ready"]) == ("small", True)
    assert client.get("/v1/models/absent").status_code == 404


def test_predictions_in_its_form(client: httpx.Client) -> None:
    reply = client.post("/v1/models/small:predict", json={"instances": images(2).tolist()})
    assert [len(row) for row in reply.json()["predictions"]] == [3, 3]


def test_explanations_are_refused_with_a_reason(client: httpx.Client) -> None:
    reply = client.post("/v1/models/small:explain", json={"instances": [1]})
    assert (reply.status_code, ":predict" in reply.json()["error"]) == (501, True)
    assert client.post("/v1/models/absent:explain", json={}).status_code == 404


def test_liveness_for_programs_and_the_page_for_people(client: httpx.Client, image_box: Bundle) -> None:
    assert client.get("/", headers={"accept": "application/json"}).json() == {"status": "alive"}
    for accepted in ("text/html,application/xhtml+xml,*/*;q=0.8", "*/*", "text/html, application/json"):
        assert client.get("/", headers={"accept": accepted}).headers["content-type"].startswith("text/html")
    with running([("", image_box.path)], compat="kserve") as server:
        assert httpx.get(server.url).json() == {"status": "alive"}
        page = httpx.get(server.url, headers={"accept": "text/html"})
        assert page.headers["content-type"].startswith("text/html")
        assert server.stop()[0] == 0
