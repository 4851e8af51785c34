from __future__ import annotations

import pytest

from bedplate.serving.exchange import Ask, Reply
from bedplate.serving.problems import Problem
from bedplate.serving.routes import Route, Routes


async def handler(_: Ask) -> Reply:
    return Reply()


ROUTES = Routes(
    [
        Route("POST", "/v1/models/{name}:predict", handler),
        Route("GET", "/v1/models/{name}", handler),
        Route("GET POST", "/both", handler),
        Route("GET", "/files/{path:*}", handler),
    ]
)


def test_parts_of_a_path_are_unquoted_and_hold_no_slash_or_colon() -> None:
    route, found = ROUTES.find("POST", "/v1/models/a%20b:predict")
    assert (route.path, found) == ("/v1/models/{name}:predict", {"name": "a b"})
    assert ROUTES.find("GET", "/v1/models/a")[1] == {"name": "a"}
    assert ROUTES.find("HEAD", "/v1/models/a")[1] == {"name": "a"}
    assert ROUTES.find("GET", "/files/a/b:c")[1] == {"path": "a/b:c"}
    for path in ("/v1/models/a/b", "/v1/models/", "/v1/models/a:b:c", "/v1/models/a:predict/"):
        with pytest.raises(Problem) as refused:
            ROUTES.find("POST", path)
        assert refused.value.status == 404


def test_a_wrong_method_is_told_the_right_ones() -> None:
    with pytest.raises(Problem) as refused:
        ROUTES.find("DELETE", "/both")
    assert (refused.value.status, refused.value.allow) == (405, "GET, POST")


def test_what_is_remembered_is_bounded() -> None:
    routes = Routes([Route("GET", "/x/{name}", handler)])
    for k in range(3000):
        assert routes.find("GET", f"/x/{k}")[1] == {"name": str(k)}
    assert len(routes._remembered) <= 1024


def test_many_odd_paths_keep_no_good_one_out() -> None:
    routes = Routes([Route("GET", "/x/{name}", handler)])
    for k in range(3000):
        routes.find("GET", f"/x/{k}")
    routes.find("GET", "/x/good")
    assert ("GET", "/x/good") in routes._remembered


def test_any_method_is_taken_by_what_says_so_and_told_to_nobody() -> None:
    routes = Routes([Route("POST", "/x", handler), Route("*", "/x", handler), Route("GET", "/y", handler)])
    assert routes.find("POST", "/x")[0].methods == "POST"
    assert routes.find("BREW", "/x")[0].methods == "*"
    with pytest.raises(Problem) as refused:
        routes.find("POST", "/y")
    assert refused.value.allow == "GET"
