"""The client reads the forms that wire writes: its own models, light and lenient, may not drift from them."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from ops_core.client.answers import Agent, Answer, ErrorAnswer, Event, Queue, Task, parsed
from ops_core.domain.task import JsonObject
from ops_core.wire.agents import AGENT_EXAMPLE, AgentOut
from ops_core.wire.events import EVENT_EXAMPLE, EventOut
from ops_core.wire.queues import QUEUE_EXAMPLE, QueueOut
from ops_core.wire.tasks import TASK_EXAMPLE, ErrorOut, TaskOut

PAIRS = [(Task, TaskOut), (Event, EventOut), (Agent, AgentOut), (Queue, QueueOut), (ErrorAnswer, ErrorOut)]


@pytest.mark.parametrize(("read", "written"), PAIRS)
def test_every_field_the_client_reads_is_one_that_the_server_writes(
    read: type[BaseModel], written: type[BaseModel]
) -> None:
    assert set(read.model_fields) <= set(written.model_fields)


@pytest.mark.parametrize(
    ("kind", "example"),
    [(Task, TASK_EXAMPLE), (Event, EVENT_EXAMPLE), (Agent, AGENT_EXAMPLE), (Queue, QUEUE_EXAMPLE)],
)
def test_what_the_server_writes_comes_out_as_it_went_in(kind: type[Answer], example: JsonObject) -> None:
    assert parsed(kind, example).as_json() == example
