"""The public surface: a sorted list, and nothing in it that does not exist."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import agentkit
from agentkit import errors, testing


def test_the_public_names_are_sorted_and_exist() -> None:
    assert agentkit.__all__ == sorted(agentkit.__all__)
    assert all(hasattr(agentkit, name) for name in agentkit.__all__)


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    stub = ast.parse(Path(agentkit.__file__).with_suffix(".pyi").read_text())
    seen = {alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == vars(agentkit)["_HOMES"]


def test_no_name_of_another_module_hides_behind_a_public_one() -> None:
    modules = {module.name for module in pkgutil.iter_modules(agentkit.__path__)}
    assert not modules & set(agentkit.__all__)


def test_the_package_alone_imports_nothing_of_itself() -> None:
    script = "import sys, agentkit; print([name for name in sys.modules if name.startswith(('agentkit.', 'pydantic'))])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_is_none_is_said_to_be_none() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(agentkit, "Nothing")  # noqa: B009


def test_every_error_is_public() -> None:
    raised = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)}
    assert raised <= set(agentkit.__all__)


def test_what_is_for_tests_stays_in_its_own_module() -> None:
    assert not hasattr(agentkit, "ScriptedLlm")
    assert testing.ScriptedLlm.__module__ == "agentkit.testing"


def test_every_module_says_in_one_sentence_what_it_is() -> None:
    for module in pkgutil.walk_packages(agentkit.__path__, "agentkit."):
        if ".tests" in module.name or module.ispkg or module.name.endswith("__main__"):
            continue
        doc = importlib.import_module(module.name).__doc__
        assert doc, module.name
        assert doc.strip(), module.name
