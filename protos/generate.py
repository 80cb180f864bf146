"""Writes `ops_core/wire/pb/v1` from the `.proto` files here: protoc, then imports moved to where the modules live."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
PACKAGE = "ops_core/v1"
TARGET = PROTOS.parent / "ops_core" / "wire" / "pb" / "v1"

#: `from ops_core.v1 import tasks_pb2` and `ops_core.v1.tasks_pb2`, but not the service name `ops_core.v1.TaskService`.
_MODULE = re.compile(r"\bops_core\.v1(?=(?: import |\.)\w+_pb2)")


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        if code := compile_protos(Path(scratch)):
            return code
        install(Path(scratch) / PACKAGE)
    return 0


def compile_protos(target: Path) -> int:
    """Run protoc for all files at once; returns its exit code."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / PACKAGE).glob("*.proto"))
    well_known = files("grpc_tools") / "_proto"
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    return int(protoc.main(["protoc", f"-I{PROTOS}", f"-I{well_known}", *outputs, *sources]))


def install(compiled: Path) -> None:
    """Replace the checked-in modules.

    protoc derives imports from the path of the `.proto` file, which is the contract's name and not our package's.
    """
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    for package in (TARGET.parent, TARGET):
        (package / "__init__.py").write_text('"""Generated from `protos/`; do not edit. See `protos/README.md`."""\n')
    for module in sorted(compiled.iterdir()):
        (TARGET / module.name).write_text(_MODULE.sub("ops_core.wire.pb.v1", module.read_text()))


if __name__ == "__main__":
    sys.exit(main())
