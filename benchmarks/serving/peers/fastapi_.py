"""FastAPI by hand, as its pages show: pydantic reads the body, the endpoint runs the model, in two workers."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from work import IMAGE, MODEL, PORT, PROCESSES, TEXT, Work, from_bytes, from_instances

app = FastAPI()
work = Work() if __name__ != "__main__" else None


class Rows(BaseModel):
    instances: list[list[list[list[int]]]] if IMAGE else list[str] if TEXT else list[dict[str, str | float]]


class Found(BaseModel):
    predictions: list[list[float]]


if MODEL["heavy"]:  # a long call would hold the event loop: such endpoints are plain functions, run by threads

    @app.post("/jpeg")
    async def jpeg(request: Request) -> Found:
        from fastapi.concurrency import run_in_threadpool

        body = await request.body()
        found = await run_in_threadpool(lambda: work.run(from_bytes(body)))
        return Found(predictions=found.tolist())

    @app.post("/binary")
    async def binary(request: Request) -> Response:
        from fastapi.concurrency import run_in_threadpool

        body = await request.body()
        found = await run_in_threadpool(lambda: work.run(from_bytes(body)))
        return Response(found.tobytes(), media_type="application/octet-stream")

else:

    @app.post("/json")
    async def json(rows: Rows) -> Found:
        return Found(predictions=work.run(from_instances(rows.instances)).tolist())

    @app.post("/binary")
    async def binary(request: Request) -> Response:
        found = work.run(from_bytes(await request.body()))
        return Response(found.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    uvicorn.run(
        "fastapi_:app", app_dir=str(Path(__file__).parent), port=PORT, workers=PROCESSES, log_level="warning",
        access_log=False, loop="uvloop", http="httptools",
    )  # fmt: skip
