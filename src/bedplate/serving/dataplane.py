"""The one path of all protocols: read, queue, batch, run, write; counted, timed and watched."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from bedplate.bundle import Bundle
from bedplate.bundle.bundle import generator_of
from bedplate.bundle.session import OnnxPredict
from bedplate.core.errors import BedplateError, InputError
from bedplate.core.machine import threads_granted
from bedplate.serving.engine_budget import ThreadBudget
from bedplate.serving.engines import choose_engine
from bedplate.serving.exchange import Call, Protocol, Question, Reply, soonest
from bedplate.serving.metrics import Metrics
from bedplate.serving.models import Model
from bedplate.serving.problems import Problem, bad_request
from bedplate.serving.repository import Repository, check_name
from bedplate.serving.streams import Streams
from bedplate.serving.threads import Threads
from bedplate.serving.watch import Watcher

if TYPE_CHECKING:
    from bedplate.serving.hub import Hub

log = logging.getLogger("bedplate.serving")

T = TypeVar("T")

CHANGES = frozenset({"load_name", "unload_name", "set_label", "reconfigure"})
"""The repository's methods that change what is served."""

LAST_SECONDS = 5.0
"""How long a server that ends waits for what is still running when all requests are answered."""


class DataPlane:
    """The served models, and what all protocols do with them.

    Args:
        threads: what all models may use together; None means all that this machine grants.
        engine: "auto", or the name of the one to use.
        batching: whether requests are run together.
        timeout: seconds after which a request that hasn't been run is dropped.
        state: the folder where sketches are kept; None keeps them in memory only.
        compat: another server's name where protocols overlap and one must win, as in `ServerSpec`.
        say: is told what a person wants to know.

    Attributes:
        draining: is set when the server stops taking requests; streams end then.
        left_behind: whether something was still running when the server gave up waiting for it at its end.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        engine: str = "auto",
        batching: bool = True,
        timeout: float = 30.0,
        state: Path | None = None,
        compat: str = "",
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.threads = threads or threads_granted()
        self.engine, self.batching, self.timeout = engine, batching, timeout
        self.say = say or log.info
        self.metrics = Metrics()
        self.watcher = Watcher(self.metrics, state, self.say)
        self.started = time.time()
        self.ready = False
        self.left_behind = False
        self.compat = compat
        self.draining = asyncio.Event()
        self.hub: Hub | None = None
        self.starting: list[Callable[[], Awaitable[None]]] = []
        self.stopping: list[Callable[[], Awaitable[None]]] = []
        # Models run and payloads are decoded by these; two at least, so that one doesn't wait for the other.
        self._pool = Threads(max(2, self.threads), "bedplate-serve")
        self._budget = ThreadBudget(self.threads)
        self._loader = Threads(1, "bedplate-load")
        self.repository = Repository(self.open_model, self._loader)
        self.repository.arrived += [self.watcher.add, self.metrics.add_model]
        self.repository.left += [self.metrics.remove_model, _write_no_more]

    def open_model(self, name: str, version: int, source: Path) -> Model:
        """Open a bundle, choose its engine, and replay its golden rows with it.

        Raises:
            BundleError: it is damaged, or gets other answers on this machine.
        """
        # Opened without a replay: the golden rows are replayed with the very engine that will serve.
        return self.prepare(check_name(name), Bundle.open(source, replay=False), version)

    def prepare(self, name: str, bundle: Bundle, version: int = 1) -> Model:
        """Return a warm model of an opened bundle."""
        chosen = choose_engine(bundle, threads=self.threads, batching=self.batching, wanted=self.engine)
        variant = bundle.manifest.variants[chosen.variant]
        bundle.golden.replay(chosen.run, chosen.variant, {**variant.tolerance, **chosen.tolerance}, str(bundle.source))
        streams = None
        if isinstance(chosen.run, OnnxPredict) and chosen.run.past:
            separator = bundle.codec.feature_spec().get("separator")
            bundle.golden.replay_continuation(chosen.run, str(bundle.source), separator)
            streams = Streams(generator_of(bundle.codec, chosen.run))
        if not chosen.plan.inline:
            chosen = replace(chosen, run=self._budget.gate(chosen.run, chosen.threads))
        return Model(name, bundle, chosen, self._pool, str(version), streams)

    def serve(self, bundles: Sequence[tuple[str, Bundle]]) -> None:
        """Serve opened bundles from the start; an empty name takes the bundle's own."""
        for given, bundle in bundles:
            name = check_name(given or bundle.name)
            self.repository.add(self.prepare(name, bundle), bundle.source)

    async def start(self) -> None:
        """Do what belongs before the first request, on the event loop that will serve."""
        for step in self.starting:
            await step()
        self.ready = True

    async def stop(self) -> None:
        """Finish the work in hand and save what was watched."""
        self.ready = False
        for step in self.stopping:
            await step()
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    def close(self) -> None:
        """Finish the work in hand and save what was watched; what hangs is left behind."""
        self.ready = False
        for model in self.repository.models.values():
            _write_no_more(model)
        self.left_behind = not (self._loader.end(LAST_SECONDS) & self._pool.end(LAST_SECONDS))
        self.watcher.close()

    def hanging(self) -> list[str]:
        """Return the models that have been running one batch for twice as long as any request may wait.

        Such a run can't be stopped, and keeps a thread; only a new process helps.
        """
        since = time.monotonic() - 2 * self.timeout
        found = []
        for name, version in self.repository.index():
            oldest = version.model.batcher.oldest() if version.model is not None else None
            if oldest is not None and oldest < since:
                found.append(name)
        return found

    async def manage(self, what: str, **arguments: Any) -> Any:
        """Change what is served, in all processes of this server; `what` names a method of the repository.

        Raises:
            BedplateError, Problem: it can't be done; nothing was changed.
        """
        if self.hub is not None:
            return await self.hub.everywhere(what, arguments)
        return await self.change(what, arguments)

    async def change(self, what: str, arguments: dict[str, Any]) -> Any:
        """Change what is served in this process. Arguments and answer are JSON."""
        if what not in CHANGES:
            raise InputError("no such change", expected=f"one of {sorted(CHANGES)}", received=what)
        return await getattr(self.repository, what)(**arguments)

    async def repeat(self, what: str, arguments: dict[str, Any]) -> str:
        """Make a change again that was made before this process began; return what keeps it from being made, or "".

        What is served may be other than it was then. A change that doesn't fit any more must keep no process from
        serving: it is left out.
        """
        # The other processes keep a label until its version comes back, so this one does, too.
        more = {"waiting": True} if what == "set_label" else {}
        try:
            await self.change(what, {**arguments, **more})
        except (Problem, BedplateError) as error:
            return error.message
        except OSError as error:  # the folder is away; the one who follows it goes on as well
            return error.strerror or str(error)
        return ""

    async def answer(self, protocol: Protocol, call: Call) -> Any:
        """Return the reply to one request, as its protocol writes it. Raises Problem."""
        model, counts = call.model, call.model.counts
        begun = time.perf_counter()
        status = "500"
        with model.lease():
            try:
                question = await self.do(call.size <= protocol.light, protocol.read, call)
                counts.read.add(time.perf_counter() - begun)
                outputs = await self.predict(model, question, call.deadline)
                writing = time.perf_counter()
                reply = await self.do(question.rows <= 256, protocol.write, call, question, outputs)
                counts.write.add(time.perf_counter() - writing)
                status = "200"
                return reply
            except Problem as problem:
                status = str(problem.status)
                raise
            except asyncio.CancelledError:
                status = "499"
                raise
            finally:
                seconds = time.perf_counter() - begun
                (counts.success if status == "200" else counts.fail).add(seconds)
                self.metrics.answered(model, protocol.name, status, seconds)

    async def predict(self, model: Model, question: Question, deadline: float | None = None) -> Any:
        """Return the outputs for a question's tensors; the rows are counted and handed to the watcher."""
        try:
            done = await model.batcher.submit(question.inputs, question.rows, soonest(question.deadline, deadline))
        except (Problem, asyncio.CancelledError):
            raise
        except Exception as error:
            if model.bundle.codec.kind != "tensor":
                raise
            # Of such a graph only the signature is known: what it makes of the values can't be checked beforehand.
            log.warning("'%s' failed on a request: %s", model.name, str(error).strip()[:300])
            raise bad_request(f"'{model.name}' fails on these inputs: their sizes or values don't fit") from error
        outputs = model.bundle.answers.trimmed(done.outputs)
        waited, ran = done.begun - done.queued, done.ended - done.begun
        model.counts.queue.add(waited)
        model.counts.run.add(ran)
        self.metrics.tallies.predict(model.name, model.version, question.rows, waited, ran)
        self.watcher.put(model, question.inputs, outputs, question.rows)
        return outputs

    async def do(self, here: bool, work: Callable[..., T], *arguments: Any) -> T:
        """Do some work on the event loop where it is light, in a thread where it isn't."""
        if here:
            return work(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)


def _write_no_more(model: Model) -> None:
    if model.streams is not None:
        model.streams.close()


def to_json(value: Any) -> bytes:
    """Return JSON bytes; NumPy arrays are written as they are."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def json_reply(value: Any, status: int = 200) -> Reply:
    """Return a JSON reply."""
    return Reply(to_json(value), status)


def problem_reply(problem: Problem) -> Reply:
    """Return a Problem as a JSON reply."""
    reply = json_reply(problem.to_json(), problem.status)
    if problem.retry_after is not None:
        reply.headers.append((b"retry-after", str(max(1, round(problem.retry_after))).encode()))
    reply.headers += [(key.encode(), value.encode()) for key, value in problem.headers.items()]
    if problem.allow:
        reply.headers.append((b"allow", problem.allow.encode()))
    return reply
