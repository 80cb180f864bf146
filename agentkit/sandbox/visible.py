"""Which files the code inside can see: the interpreter, its standard library, and what it was said to import."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from agentkit.errors import ConfigurationError

#: Where the system keeps shared libraries, and what finds them; and the time zones.
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/nix/store", "/etc/ld.so.cache", "/usr/share/zoneinfo")
#: What finding a name and trusting a server take.
_NETWORK = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/pki",
    "/usr/share/ca-certificates",
    "/usr/lib/ssl",
)
#: Folders of installed packages, which lie within the standard library.
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class Visible:
    """Files and folders that the code inside may read; there is nothing else."""

    #: The interpreter, free of symbolic links and of any virtual environment.
    python: Path
    #: The standard library, without the packages installed in it.
    library: tuple[Path, ...]
    #: Folders of packages, and packages and modules that are seen on their own.
    packages: tuple[Path, ...]
    #: Of the system: libraries, time zones and, for the network, names and certificates.
    system: tuple[Path, ...]
    #: Outermost module or package → its file. Their folders are not seen, so they could not be searched.
    places: dict[str, Path]
    #: What is added to `sys.path`.
    import_path: tuple[Path, ...]


def visible(modules: Sequence[str], *, site_packages: bool, network: bool) -> Visible:
    """What is seen by code that imports these modules.

    Args:
        site_packages: Whether all packages are seen that are installed where this process has its own from.

    Raises:
        ConfigurationError: there is no such module, or no file of it.
    """
    names = dict.fromkeys(module.partition(".")[0] for module in modules)
    files = {name: file for name in names if (file := _file_of(name, required=not site_packages)) is not None}
    packages = [file.parent if file.stem == "__init__" else file for file in files.values()]
    installed = [Path(sysconfig.get_path(each)) for each in ("purelib", "platlib")] if site_packages else []
    return Visible(
        python=_python(),
        library=_library(),
        packages=_existing([*packages, *installed]),
        system=_existing(Path(each) for each in (*_SYSTEM, *(_NETWORK if network else ()))),
        places=files,
        import_path=_existing(installed),
    )


def _python() -> Path:
    # That of a virtual environment would look for its configuration, and with it for installed packages.
    own: str = getattr(sys, "_base_executable", sys.executable)
    return Path(own).resolve()


def _library() -> tuple[Path, ...]:
    roots = {Path(sysconfig.get_path(each)).resolve() for each in ("stdlib", "platstdlib")}
    base = Path(sys.base_prefix, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}").resolve()
    shared = Path(sysconfig.get_config_var("LIBDIR") or "/nowhere").glob("libpython*.so*")
    # platstdlib of a virtual environment is its own, which holds nothing but installed packages.
    own = {root for root in roots if (root / "os.py").exists() or (root / "lib-dynload").exists()}
    return _existing([*own, base, *shared])


def masked(library: Iterable[Path]) -> tuple[Path, ...]:
    """The folders of installed packages within these, which are not seen unless they were asked for."""
    return _existing(each / name for each in library for name in _INSTALLED)


def _existing(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path for path in paths if path.exists()))


def _file_of(name: str, *, required: bool) -> Path | None:
    """Of an outermost module or package, which is not imported for that."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise ConfigurationError(f"there is no module {name!r} that a sandbox could import")
    if spec.origin is not None and Path(spec.origin).is_file():
        return Path(os.path.abspath(spec.origin))
    if required and name not in sys.stdlib_module_names:
        raise ConfigurationError(f"the module {name!r} has no file; open the sandbox with site_packages=True")
    return None
