"""The gRPC server around its services: keys, health, reflection, request ids, limits, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from ops_core.errors import ConfigurationInvalid
from ops_core.rpc.health import HealthLoop
from ops_core.rpc.server import SERVICE_NAMES
from ops_core.tests.fakes import FakeStore
from ops_core.tests.unit.rpc.conftest import Door, OpenDoor
from ops_core.tests.unit.rpc.refusals import refusal_of, refused
from ops_core.tests.unit.rpc.test_tasks import submit
from ops_core.tests.unit.rpc.test_watch import until
from ops_core.wire.api_keys import single_key
from ops_core.wire.pb.v1 import agents_pb2, info_pb2
from ops_core.wire.pb.v1 import tasks_pb2 as pb

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def health(door: Door, service: str = "") -> int:
    reply = await health_pb2_grpc.HealthStub(door.channel).Check(health_pb2.HealthCheckRequest(service=service))
    return int(reply.status)


async def reflected(door: Door, metadata: tuple[tuple[str, str], ...] = ()) -> set[str]:
    """The services that reflection names."""

    async def asked() -> AsyncIterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    stub: Any = reflection_pb2_grpc.ServerReflectionStub(door.channel)
    async for reply in stub.ServerReflectionInfo(asked(), metadata=metadata):
        return {service.name for service in reply.list_services_response.service}
    return set()


def list_agents(door: Door, *metadata: tuple[str, str]) -> Awaitable[Any]:
    return door.agents.ListAgents(agents_pb2.ListAgentsRequest(), metadata=metadata)


@pytest.mark.parametrize(
    "metadata",
    [
        ("authorization", "Bearer s3cret"),
        ("authorization", "bearer  s3cret"),
        ("x-api-key", "s3cret"),
    ],
)
async def test_a_call_with_the_key_is_let_in(open_door: OpenDoor, metadata: tuple[str, str]) -> None:
    door = await open_door(keys=(single_key("s3cret"),))

    assert (await list_agents(door, metadata)).agents


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer other"),),
        (("authorization", "s3cret"),),
        (("authorization", "Basic s3cret"),),
        (("x-api-key", ""),),
        (("x-api-key-bin", b"s3cret"),),
    ],
)
async def test_a_call_without_the_key_is_unauthenticated(
    open_door: OpenDoor, metadata: tuple[tuple[str, Any], ...]
) -> None:
    door = await open_door(keys=(single_key("s3cret"),))

    refusal = await refused(list_agents(door, *metadata))

    assert (refusal.status, refusal.code) == (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")


async def test_streams_and_reflection_want_the_key_too(open_door: OpenDoor) -> None:
    door = await open_door(keys=(single_key("s3cret"),))

    with pytest.raises(grpc.aio.AioRpcError) as watch:
        await anext(aiter(door.tasks.WatchTask(pb.WatchTaskRequest(id="x"))))
    with pytest.raises(grpc.aio.AioRpcError) as reflection:
        await reflected(door)

    assert refusal_of(watch.value).code == refusal_of(reflection.value).code == "unauthenticated"
    assert "ops_core.v1.TaskService" in await reflected(door, (("x-api-key", "s3cret"),))


async def test_who_submitted_is_written_down(open_door: OpenDoor) -> None:
    door = await open_door(keys=(single_key("s3cret"),))
    request = pb.SubmitTaskRequest(agent="assistant", goal="x")

    reply = await door.tasks.SubmitTask(request, metadata=(("x-api-key", "s3cret"),))

    assert reply.task.created_by == "api-key"


async def test_health_wants_no_key_and_knows_each_service(open_door: OpenDoor) -> None:
    door = await open_door(keys=(single_key("s3cret"),))

    assert [await health(door, name) for name in ("", *SERVICE_NAMES)] == [SERVING] * (1 + len(SERVICE_NAMES))


async def test_health_follows_the_database() -> None:
    store = FakeStore()
    loop = HealthLoop(probe=store, service_names=["a"])

    async def statuses() -> list[int]:
        requests = [health_pb2.HealthCheckRequest(service=name) for name in ("", "a")]
        return [int((await loop.servicer.Check(request, None)).status) for request in requests]

    await loop.tick()
    assert await statuses() == [SERVING] * 2
    store.away = True
    await loop.tick()
    assert await statuses() == [NOT_SERVING] * 2
    store.away, store.migrated = False, False
    await loop.tick()
    assert await statuses() == [NOT_SERVING] * 2
    store.migrated = True
    await loop.tick()
    assert await statuses() == [SERVING] * 2
    await loop.stop()
    assert await statuses() == [NOT_SERVING] * 2


async def test_health_is_probed_again_and_again() -> None:
    store = FakeStore()
    store.away = True
    loop = HealthLoop(probe=store, service_names=[], interval_seconds=0.001)
    await loop.start()
    store.away = False

    async with asyncio.timeout(10):
        while (await loop.servicer.Check(health_pb2.HealthCheckRequest(), None)).status != SERVING:
            await asyncio.sleep(0.001)

    await loop.stop()


async def test_reflection_names_all_services(door: Door) -> None:
    assert await reflected(door) == {
        *SERVICE_NAMES,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize("method", ["/ops_core.v1.TaskService/Explode", "/ops_core.v2.TaskService/GetTask"])
async def test_an_unknown_method_is_unimplemented(door: Door, method: str) -> None:
    call: Callable[[bytes], Awaitable[Any]] = door.channel.unary_unary(method)  # type: ignore[assignment]  # without serializers it takes bytes

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_request_id_is_echoed(door: Door) -> None:
    call = door.agents.ListAgents(agents_pb2.ListAgentsRequest(), metadata=(("x-request-id", "mine-1"),))
    await call

    assert ("x-request-id", "mine-1") in tuple(await call.trailing_metadata())


@pytest.mark.parametrize("metadata", [(), (("x-request-id", "not mine"),), (("x-request-id", "x" * 1_000),)])
async def test_without_a_usable_request_id_one_is_made(door: Door, metadata: tuple[tuple[str, str], ...]) -> None:
    refusal = await refused(door.tasks.GetTask(pb.GetTaskRequest(id="x"), metadata=metadata))

    assert len(refusal.request_id) == 32


async def test_errors_name_their_code_in_both_forms(door: Door) -> None:
    refusal = await refused(door.tasks.GetTask(pb.GetTaskRequest(id="01890a5d-ac96-774b-bcce-b302099a8057")))

    assert (refusal.code, refusal.reason, refusal.domain) == ("task_not_found", "TASK_NOT_FOUND", "ops-core")


async def test_a_database_that_is_away_is_unavailable(door: Door) -> None:
    door.store.away = True

    refusal = await refused(submit(door))

    assert (refusal.status, refusal.code) == (grpc.StatusCode.UNAVAILABLE, "store_unavailable")


async def test_what_nobody_foresaw_is_internal_and_tells_nothing_but_the_request_id(
    open_door: OpenDoor,
) -> None:
    class Broken:
        async def list(self, caller: object) -> None:
            raise KeyError("password=hunter2")

    door = await open_door(agents=Broken())

    refusal = await refused(list_agents(door))

    assert (refusal.status, refusal.code) == (grpc.StatusCode.INTERNAL, "internal")
    assert refusal.request_id in refusal.message
    assert "hunter2" not in refusal.message


async def test_calls_over_the_limit_are_told_to_come_back_and_probes_are_not(open_door: OpenDoor) -> None:
    door = await open_door(max_calls=1)
    task = await submit(door)
    watch = door.tasks.WatchTask(pb.WatchTaskRequest(id=task.id))
    await anext(aiter(watch))

    refusal = await refused(list_agents(door))

    assert (refusal.status, refusal.code) == (grpc.StatusCode.UNAVAILABLE, "unavailable")
    assert await health(door) == SERVING
    watch.cancel()
    await until(lambda: door.nudges.listeners == 0)
    assert (await list_agents(door)).agents


async def test_a_port_that_is_taken_is_a_configuration_error(door: Door, open_door: OpenDoor) -> None:
    with pytest.raises(ConfigurationInvalid, match="OPS_CORE_GRPC_PORT"):
        await open_door(port=door.server.port)


async def test_stopping_lets_a_call_in_progress_finish(open_door: OpenDoor) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    class Slow:
        async def list(self, caller: object) -> list[Any]:
            entered.set()
            await go_on.wait()
            return []

    door = await open_door(agents=Slow())
    call = asyncio.ensure_future(list_agents(door))
    await entered.wait()

    stopping = asyncio.ensure_future(door.server.stop(grace_seconds=30))
    await asyncio.sleep(0)
    go_on.set()

    assert list((await call).agents) == []
    await stopping


async def test_stopping_twice_is_harmless(door: Door) -> None:
    await door.server.stop(grace_seconds=0)
    await door.server.stop(grace_seconds=0)


async def test_info_is_served_to_many_at_once(door: Door) -> None:
    replies = await asyncio.gather(*(door.info.GetInfo(info_pb2.GetInfoRequest()) for _ in range(200)))

    assert {reply.version for reply in replies} == {"9.9.9"}
