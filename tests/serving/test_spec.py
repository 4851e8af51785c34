from __future__ import annotations

import json
from pathlib import Path

from bedplate.serving.body import Limits
from bedplate.serving.spec import ServerSpec, spec_from_json, spec_to_json


def test_a_spec_survives_the_way_to_another_process() -> None:
    spec = ServerSpec(
        bundles=(("a", Path("x/y")), ("", Path("z.bundle"))), port=1, grpc_port=2, repository=Path("r"), state=Path("s"),
        limits=Limits(body_bytes=7), token_file=Path("t"), tls=(Path("c"), Path("k")), cors=("*",), also=(3, 4), processes=5,
        compat="triton",
    )  # fmt: skip
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec
    assert spec_from_json(spec_to_json(ServerSpec())) == ServerSpec()
