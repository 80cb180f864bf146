from __future__ import annotations

import subprocess
import sys


def test_the_json_models_need_no_server_library() -> None:
    """Clients use them too."""
    models = "agents, events, info, problems, tasks, times"
    code = f"import sys; from ops_core.wire import {models}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"fastapi", "starlette", "uvicorn", "grpc", "sqlalchemy", "dramatiq"} & set(run.stdout.split())
