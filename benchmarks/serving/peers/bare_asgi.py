"""The floor: uvicorn, uvloop, httptools, orjson and a session, with nothing between them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import orjson
import uvicorn
from work import PORT, PROCESSES, Work, from_bytes, from_instances_quickly, rare_collections

JSON = [(b"content-type", b"application/json")]
RAW = [(b"content-type", b"application/octet-stream")]
work = None


async def app(scope, receive, send):
    global work
    if scope["type"] != "http":
        return
    if work is None:
        work = Work()
        rare_collections()
    message = await receive()
    body = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    path = scope["path"]
    tensors = from_instances_quickly(orjson.loads(body)["instances"]) if path == "/json" else from_bytes(body)
    found = work.run(tensors)
    if path == "/binary":
        reply, headers = found.tobytes(), RAW
    else:
        reply, headers = orjson.dumps({"predictions": found}, option=orjson.OPT_SERIALIZE_NUMPY), JSON
    headers = [*headers, (b"content-length", str(len(reply)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": reply})


if __name__ == "__main__":
    uvicorn.run(
        "bare_asgi:app", app_dir=str(Path(__file__).parent), port=PORT, workers=PROCESSES, log_level="warning",
        access_log=False, loop="uvloop", http="httptools", ws="none", lifespan="off",
    )  # fmt: skip
