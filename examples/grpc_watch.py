"""Submit a task over gRPC and follow its events; a stream that is cut is taken up where it broke.

usage: python grpc_watch.py [GOAL]     GRPC_ADDRESS and OPS_CORE_API_KEY say where and as whom
"""

import os
import sys
import time
import uuid

import grpc

from ops_core.wire.pb.v1 import tasks_pb2 as pb
from ops_core.wire.pb.v1 import tasks_pb2_grpc

ADDRESS = os.environ.get("GRPC_ADDRESS", "127.0.0.1:50051")
KEY = os.environ.get("OPS_CORE_API_KEY")
METADATA = (("authorization", f"Bearer {KEY}"),) if KEY else ()
CUT = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


def follow(tasks: tasks_pb2_grpc.TaskServiceStub, task_id: str) -> None:
    """Print each event once, in order, until the task has finished."""
    seq = 0
    while True:
        watch = tasks.WatchTask(pb.WatchTaskRequest(id=task_id, after_seq=seq), timeout=300, metadata=METADATA)
        try:
            for event in watch:
                seq = event.seq
                print(f"{seq:>3}  {event.type}  {event.step_key}")
            return
        except grpc.RpcError as error:
            if error.code() not in CUT:
                raise
            time.sleep(1)


def main() -> None:
    goal = sys.argv[1] if len(sys.argv) > 1 else "What is 17 * 23?"
    with grpc.insecure_channel(ADDRESS) as channel:
        tasks = tasks_pb2_grpc.TaskServiceStub(channel)
        request = pb.SubmitTaskRequest(agent="assistant", goal=goal, idempotency_key=str(uuid.uuid4()))
        submitted = tasks.SubmitTask(request, timeout=30, metadata=METADATA)
        follow(tasks, submitted.task.id)
        task = tasks.GetTask(pb.GetTaskRequest(id=submitted.task.id), timeout=30, metadata=METADATA)
    if task.status != pb.TASK_STATUS_COMPLETED:
        sys.exit(f"{pb.TaskStatus.Name(task.status)}: {task.error.code}: {task.error.message}")
    print(task.result.struct_value["answer"])


main()
