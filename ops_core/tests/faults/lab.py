"""What every row stands on: a database server, a broker, the world outside, installations with altered processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import psycopg

from ops_core.storage.migrations import upgrade
from ops_core.tests.faults import poison_tools
from ops_core.tests.faults.ledger import Ledger
from ops_core.tests.faults.nursery import Forked, Nursery
from ops_core.tests.faults.oracle import WATCH_WRITERS
from ops_core.tests.faults.outside import Outside
from ops_core.tests.faults.tools import PROCESS_NAME, SINK_URL, install
from ops_core.tests.free_port import free_port
from ops_core.tests.journeys.system import Process, System, is_listening, until
from ops_core.tests.postgres_cluster import PostgresCluster
from ops_core.tests.rabbitmq_node import RabbitmqNode
from ops_core.tests.rules import check_rules

LEASE_SECONDS = 2.0
HOUSEKEEPER_SECONDS = 0.2
RING_AGAIN_SECONDS = 1.0
#: Enough for what should be there after this time of quiet: the lease is over, the housekeeper has looked and rung.
_QUIET_SECONDS = LEASE_SECONDS + 2 * HOUSEKEEPER_SECONDS + 2 * RING_AGAIN_SECONDS + 2.0
#: On a machine that is busy with other things all of it takes longer. A run that comes to its end waits for neither.
_PATIENT_SECONDS = 45.0

#: Agents by tool, number of steps and what their model takes for each answer: `retry-10-50`.
_AGENTS = (
    *itertools.product(("retry", "ask", "fail"), (1, 2, 3), (1, 10)),
    *itertools.product(("retry",), (10,), (10, 50, 200)),
    *itertools.product(("retry",), (1,), (1500, 2000, 4000, 8000, 12000, 16000, 20000)),
)


class FaultSystem(System):
    """One database and one queue, and processes that say who they are in what they write."""

    def __init__(
        self, directory: Path, *, database_url: str, broker_url: str, outside: Outside, nursery: Nursery
    ) -> None:
        super().__init__(
            directory,
            database_url=database_url,
            broker_url=broker_url,
            lease_seconds=LEASE_SECONDS,
            housekeeper_interval_seconds=HOUSEKEEPER_SECONDS,
            ring_again_seconds=RING_AGAIN_SECONDS,
            # Kills are the test here: how many a task may cost is another one's.
            max_crashes=1000,
            drain_seconds=2.0,
        )
        self.database_url = database_url
        self._nursery = nursery
        self.environment |= {
            SINK_URL: outside.sink_url,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(directory / "plugins"), os.environ.get("PYTHONPATH")))),
        }
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def begin(
        self,
        name: str,
        *command: str,
        without: Sequence[str] = (),
        injected: Sequence[str] = (),
        nursery: Nursery | None = None,
        **settings: object,
    ) -> Process:
        """Start a process under a name that no other has, without these remedies, with these faults in it."""
        name = f"{name}-{next(self._numbers)}"
        own = {f"OPS_CORE_{key.upper()}": str(value) for key, value in settings.items()}
        own["OPS_CORE_DATABASE_URL"] = as_writer(self.database_url, name)
        own |= {PROCESS_NAME: name, "AGENTKIT_LLM_API_KEY": name}
        alterations = ["with:noted_checks"] if command[0] == "worker" else []
        alterations += [*(f"without:{each}" for each in without), *(f"with:{each}" for each in injected)]
        process = Forked(
            nursery or self._nursery,
            name,
            alterations=",".join(alterations) or "-",
            command=command,
            environment=self.environment | own,
            directory=self.directory,
        )
        self.processes.append(process)
        return process

    def begin_worker(self, queue: str, *, name: str = "worker", concurrency: int = 20, **options: object) -> Process:
        """A worker process of this queue alone, without a supervisor."""
        return self.begin(name, "worker", "start", queues=queue, concurrency=concurrency, **options)  # type: ignore[arg-type]  # settings may be anything

    def begin_api(self, *, port: int | None = None, **options: object) -> tuple[Process, str]:
        """One more API, and its URL."""
        port = port or free_port()
        process = self.begin("api", "api", "start", port=port, **options)  # type: ignore[arg-type]  # as above
        return process, f"http://127.0.0.1:{port}"

    def end(self, process: Process) -> None:
        """Kill it and forget it."""
        process.kill()
        self.processes.remove(process)


class Lab:
    """Opened once for many rows. Rows share its servers, and each takes a queue of its own."""

    def __init__(self) -> None:
        """Raises:
        PostgresMissing, RabbitmqMissing: there is nothing to start.
        """
        self._stack = ExitStack()
        self._standing: tuple[FaultSystem, ExitStack] | None = None
        self._queues = itertools.count(1)

    def __enter__(self) -> Self:
        with self._stack as stack:
            self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ops-core-faults-")))
            self._nurseries: dict[frozenset[tuple[str, str]], Nursery] = {}
            stack.callback(self._close_nurseries)
            self.nursery = self.nursery_under({})
            self.node = RabbitmqNode()
            stack.callback(self.node.close)
            with ThreadPoolExecutor(1) as pool:
                starting = pool.submit(self.node.start)
                self.cluster = PostgresCluster()
                stack.callback(self.cluster.close)
                starting.result()
            self.outside = Outside()
            stack.callback(self.outside.close)
            self._template = stack.enter_context(database(self.cluster.url, template="template1"))
            _prepare(self._template)
            stack.callback(self.stop_standing)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def nursery_under(self, preload: Mapping[str, str]) -> Nursery:
        """The one whose processes have this in their environment from the beginning."""
        key = frozenset(preload.items())
        if key not in self._nurseries:
            self._nurseries[key] = Nursery(preload)
        return self._nurseries[key]

    def _close_nurseries(self) -> None:
        for nursery in self._nurseries.values():
            nursery.close()

    def set_in_node(self, **settings: int) -> None:
        """Of RabbitMQ's application `rabbit`, for connections made from now on."""
        self.node.ctl("eval", ", ".join(f"application:set_env(rabbit, {k}, {v})" for k, v in settings.items()) + ".")

    def new_queue(self) -> str:
        """A queue that nobody has used."""
        return f"q{next(self._queues)}"

    def new_ledger(self, name: str) -> Ledger:
        return Ledger(self.directory / f"{name}-{uuid4().hex[:6]}.jsonl", prefix=f"{name}-{uuid4().hex[:6]}")

    def standing(self) -> FaultSystem:
        """An installation with an API and a housekeeper, which rows share and add workers to."""
        if self._standing is None:
            with ExitStack() as stack:
                system = stack.enter_context(self.system())
                self._standing = (system, stack.pop_all())
        return self._standing[0]

    def stop_standing(self) -> None:
        """Before a row that needs the servers for itself."""
        standing, self._standing = self._standing, None
        if standing is not None:
            standing[1].close()

    @contextmanager
    def shared(self) -> Iterator[FaultSystem]:
        """The standing installation; what the block starts in it is killed in the end."""
        system = self.standing()
        before = list(system.processes)
        try:
            yield system
        finally:
            for process in [process for process in system.processes if process not in before]:
                system.end(process)

    def installation(self, *, without: Sequence[str] = ()) -> AbstractContextManager[FaultSystem]:
        """The shared one; one of its own for a run whose housekeeper or API goes without something."""
        return self.system(without=without) if without else self.shared()

    @contextmanager
    def system(self, *, without: Sequence[str] = (), injected: Sequence[str] = ()) -> Iterator[FaultSystem]:
        """An installation of its own: a new database, an API and a housekeeper, altered like this."""
        template = self._template.partition("?")[0].rpartition("/")[2]
        directory = self.directory / f"system-{uuid4().hex[:6]}"
        directory.mkdir()
        write_agents(directory, self.outside.model_url)
        install(directory / "plugins")
        with (
            database(self.cluster.url, template=template) as database_url,
            FaultSystem(
                directory,
                database_url=database_url,
                broker_url=self.node.url(),
                outside=self.outside,
                nursery=self.nursery,
            ) as system,
        ):
            system.begin("housekeeper", "housekeeper", "start", without=without, injected=injected)
            system.wait_ready(system.begin("api", "api", "start", without=without, injected=injected))
            yield system


@contextmanager
def database(server: str, *, template: str) -> Iterator[str]:
    """URL of a database that exists while the block runs. Holds no connection: the server may be killed meanwhile."""
    head, _, query = server.partition("?")
    name = f"f_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    try:
        yield f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def write_agents(directory: Path, model_url: str) -> None:
    agents = directory / "agents"
    agents.mkdir()
    for tool, steps, delay in _AGENTS:
        write_agent(agents, model_url, tool=tool, steps=steps, delay_ms=delay)
    write_agent(agents, model_url, tool="fail", steps=1, delay_ms=10, name="asking", more="approvals: [{tool: '*'}]\n")
    for harm in poison_tools.KINDS:
        name = poison_tools.agent_of(harm)
        model = f"{{provider: openai-compatible, name: react-1-delay-10, base_url: '{model_url}'}}"
        (agents / f"{name}.yaml").write_text(f"model: {model}\ntools: [harm_{harm}]\n")


def write_agent(
    agents: Path, model_url: str, *, tool: str, steps: int, delay_ms: int, name: str = "", more: str = ""
) -> None:
    """An agent that makes so many charges, whose model takes that long for each answer."""
    model = f"{{provider: openai-compatible, name: react-{steps}-delay-{delay_ms}, base_url: '{model_url}'}}"
    (agents / f"{name or tool}-{steps}-{delay_ms}.yaml").write_text(
        f"model: {model}\ntools: [charge_{tool}]\nlimits: {{seconds: 600, llm_seconds: 120}}\n{more}"
    )


def as_writer(database_url: str, name: str) -> str:
    """The URL by which a process says who it is; the trigger in `oracle` reads it."""
    joint = "&" if "?" in database_url else "?"
    return f"{database_url}{joint}options=-cfaults.writer%3D{name}"


def quiet_seconds(control: bool) -> float:
    """How long nothing may move until a task counts as stuck; short in a control, of which that is expected."""
    return _QUIET_SECONDS if control else _PATIENT_SECONDS


def takes_tickets(worker: Process) -> None:
    """Returns when it has started; it is a failure when it does not."""

    def started() -> bool:
        assert worker.popen.poll() is None, f"{worker.name} ended:\n{worker.output()[-4000:]}"
        return '"door": "worker"' in worker.output()

    until(started, seconds=60, what=f"{worker.name} takes tickets")


def all_listen(urls: Sequence[str]) -> None:
    """Returns when every one of these servers accepts connections."""
    for url in urls:
        port = int(url.rpartition(":")[2])
        until(partial(is_listening, port), seconds=60, what=f"{url} listens")


def stop_for(process: Process, seconds: float) -> None:
    """SIGSTOP, a pause, SIGCONT."""
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)


def _prepare(database_url: str) -> None:
    upgrade(database_url)
    check_rules(database_url)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(WATCH_WRITERS.encode())
