"""The published gRPC contract: nothing goes missing, and the checked-in code is that of the `.proto` files."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor

from ops_core.domain.approval import ApprovalReason, ApprovalStatus, Decision, OnTimeout
from ops_core.domain.schedule import CatchUp
from ops_core.domain.task import RetryFrom, TaskKind, TaskStatus, WaitingFor
from ops_core.rpc.agents import AgentServicer
from ops_core.rpc.approvals import ApprovalServicer
from ops_core.rpc.info import InfoServicer
from ops_core.rpc.queues import QueueServicer
from ops_core.rpc.schedules import ScheduleServicer
from ops_core.rpc.tasks import TaskServicer
from ops_core.wire import protobuf_approvals, protobuf_schedules
from ops_core.wire.pb.v1 import agents_pb2, approvals_pb2, info_pb2, queues_pb2, schedules_pb2, tasks_pb2
from ops_core.wire.protobuf_tasks import KIND_NUMBERS, RETRY_FROM_NUMBERS, STATUS_NUMBERS, WAITING_FOR_NUMBERS

MODULES = (tasks_pb2, approvals_pb2, schedules_pb2, queues_pb2, agents_pb2, info_pb2)
#: One line for each field, enum value and method there has ever been. Lines are added, never changed or removed.
PUBLISHED = Path(__file__).with_name("published_contract.txt")
SCALARS = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_STRING: "string",
}
PROTOS = Path(__file__).parents[4] / "protos"


def lines_of(file: FileDescriptor) -> set[str]:
    """The file's fields, enum values and methods, in the form of the list of what is published."""
    fields = {
        f"{message.name}.{field.name} = {field.number} {'repeated ' if field.is_repeated else ''}{_type(field)}"
        for message in file.message_types_by_name.values()
        for field in message.fields
    }
    values = {
        f"{enum.name}.{value.name} = {value.number}"
        for enum in file.enum_types_by_name.values()
        for value in enum.values
    }
    methods = {
        f"{service.name}.{method.name}({method.input_type.name}) "
        f"returns {'stream ' if method.server_streaming else ''}{method.output_type.name}"
        for service in file.services_by_name.values()
        for method in service.methods
    }
    return fields | values | methods


def _type(field: object) -> str:
    message, enum = field.message_type, field.enum_type  # type: ignore[attr-defined]  # a FieldDescriptor
    return str(message.name if message else enum.name if enum else SCALARS[field.type])  # type: ignore[attr-defined]


def test_what_was_published_is_still_there_and_what_is_new_is_written_down() -> None:
    current = set[str]().union(*(lines_of(module.DESCRIPTOR) for module in MODULES))
    published = set(PUBLISHED.read_text().splitlines())

    assert published - current == set(), "the contract is broken for clients that are out there"
    assert current - published == set(), f"add these lines to {PUBLISHED.name}"


@pytest.mark.parametrize("module", MODULES)
def test_the_checked_in_code_is_that_of_the_proto_file(module: object) -> None:
    descriptor: FileDescriptor = module.DESCRIPTOR  # type: ignore[attr-defined]
    source = re.sub(r"//.*", "", (PROTOS / descriptor.name).read_text())
    written = {(name, int(number)) for name, number in re.findall(r"\b(\w+) = (\d+);", source)}
    generated = {
        (field.name, field.number) for message in descriptor.message_types_by_name.values() for field in message.fields
    } | {(value.name, value.number) for enum in descriptor.enum_types_by_name.values() for value in enum.values}

    assert written == generated, "run `make protos`"


def test_everything_in_the_proto_files_has_a_comment() -> None:
    bare = []
    for path in sorted(PROTOS.glob("ops_core/v1/*.proto")):
        lines = path.read_text().splitlines()
        for before, line in pairwise(lines):
            is_declared = re.match(r"\s*(message|enum|service|rpc|[\w.<>, ]+ \w+ = \d+;|\w+ = \d+;)", line)
            if is_declared and not line.startswith("option") and not before.strip().startswith("//"):
                bare.append(f"{path.name}: {line.strip()}")

    assert bare == []


@pytest.mark.parametrize(
    ("members", "numbers", "name"),
    [
        (TaskStatus, STATUS_NUMBERS, "TaskStatus"),
        (TaskKind, KIND_NUMBERS, "TaskKind"),
        (WaitingFor, WAITING_FOR_NUMBERS, "WaitingFor"),
        (RetryFrom, RETRY_FROM_NUMBERS, "RetryFrom"),
        (ApprovalReason, protobuf_approvals.REASON_NUMBERS, "ApprovalReason"),
        (Decision, protobuf_approvals.DECISION_NUMBERS, "Decision"),
        (OnTimeout, protobuf_approvals.ON_TIMEOUT_NUMBERS, "OnTimeout"),
        (ApprovalStatus, protobuf_approvals.STATUS_NUMBERS, "ApprovalStatus"),
        (CatchUp, protobuf_schedules.CATCH_UP_NUMBERS, "CatchUp"),
    ],
)
def test_every_member_has_a_number_of_its_own_and_zero_means_unspecified(
    members: type[TaskStatus], numbers: dict[TaskStatus, int], name: str
) -> None:
    enums = {enum.name: enum for one in MODULES for enum in one.DESCRIPTOR.enum_types_by_name.values()}
    enum = enums[name]

    assert set(numbers) == set(members)
    assert set(numbers.values()) == {value.number for value in enum.values} - {0}
    assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")


@pytest.mark.parametrize(
    ("servicer", "module", "service"),
    [
        (TaskServicer, tasks_pb2, "TaskService"),
        (ApprovalServicer, approvals_pb2, "ApprovalService"),
        (ScheduleServicer, schedules_pb2, "ScheduleService"),
        (QueueServicer, queues_pb2, "QueueService"),
        (AgentServicer, agents_pb2, "AgentService"),
        (InfoServicer, info_pb2, "InfoService"),
    ],
)
def test_every_method_is_served(servicer: type, module: object, service: str) -> None:
    descriptor: FileDescriptor = module.DESCRIPTOR  # type: ignore[attr-defined]
    methods = {method.name for method in descriptor.services_by_name[service].methods}

    assert methods <= set(dir(servicer))
