"""An environment for each peer, made once and kept; ours is the harness's own."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

SYSTEMS = Path(__file__).with_name("systems")
_INSTALL_SECONDS = 600.0


class NotInstalled(Exception):
    """Its packages cannot be had here; says why."""


def interpreter(system: str, *, kept_in: Path) -> str:
    """The Python that has what this system needs.

    Raises:
        NotInstalled
    """
    requirements = _requirements(SYSTEMS / f"{system}.py")
    if requirements is None:
        return sys.executable
    key = hashlib.sha256(json.dumps(requirements).encode()).hexdigest()[:12]
    home = kept_in / f"{system}-{key}"
    python = home / "bin" / "python"
    if not (home / "installed").exists():
        uv = _uv()
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)])
        _run([uv, "pip", "install", "--quiet", "--python", str(python), *requirements])
        (home / "installed").touch()
    return str(python)


def versions(python: str) -> dict[str, str]:
    """What is installed in an environment."""
    listed = subprocess.run(
        [_uv(), "pip", "list", "--quiet", "--format", "json", "--python", python], capture_output=True, check=True
    )
    return {package["name"]: package["version"] for package in json.loads(listed.stdout)}


def _requirements(file: Path) -> list[str] | None:
    """Read, not imported: what it imports is not installed yet."""
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "REQUIREMENTS":
            requirements: list[str] | None = ast.literal_eval(statement.value)
            return requirements
    raise ValueError(f"{file} says nothing of its REQUIREMENTS")


def _uv() -> str:
    """Beside this Python, or beside the tox that runs us."""
    beside = [Path(sys.executable).with_name("uv"), SYSTEMS.parents[2] / ".venv" / "bin" / "uv"]
    found = next((str(path) for path in beside if path.exists()), None) or shutil.which("uv")
    if found is None:
        raise NotInstalled("there is no uv to install it with: pip install uv")
    return found


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
    except (subprocess.SubprocessError, OSError) as error:
        raise NotInstalled(f"{command[1]} failed: {getattr(error, 'stderr', None) or error}") from error
