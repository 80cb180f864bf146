"""Submit a task over REST and wait for it, with the standard library alone.

usage: python rest_submit_and_wait.py [GOAL]     OPS_CORE_URL and OPS_CORE_API_KEY say where and as whom
"""

import json
import os
import sys
import urllib.error
import urllib.request
import uuid
from typing import Any

URL = os.environ.get("OPS_CORE_URL", "http://127.0.0.1:8000")
FINAL = {"completed", "failed", "canceled", "rejected"}


def ask(method: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
    if key := os.environ.get("OPS_CORE_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        problem = json.load(error)
        sys.exit(f"{problem['code']}: {problem['detail']}")


def main() -> None:
    goal = sys.argv[1] if len(sys.argv) > 1 else "What is 17 * 23?"
    # With a key the submit can be sent again after a lost connection, and adds no second task.
    key = {"Idempotency-Key": str(uuid.uuid4())}
    task = ask("POST", "/api/v1/tasks", {"agent": "assistant", "goal": goal}, **key)
    while task["status"] not in FINAL:
        # Answers when the task has finished, or after 30 seconds with the task as it is.
        task = ask("GET", f"/api/v1/tasks/{task['id']}?wait=30")
    if task["status"] != "completed":
        sys.exit(f"{task['status']}: {task['error']}")
    print(task["result"]["answer"])


main()
