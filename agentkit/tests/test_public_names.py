"""The public surface: a sorted list, and nothing in it that does not exist."""

from __future__ import annotations

import importlib
import pkgutil

import agentkit
from agentkit import errors, testing


def test_the_public_names_are_sorted_and_exist() -> None:
    assert agentkit.__all__ == sorted(agentkit.__all__)
    assert all(hasattr(agentkit, name) for name in agentkit.__all__)


def test_every_name_imported_into_the_package_is_public() -> None:
    modules = {module.name for module in pkgutil.iter_modules(agentkit.__path__)}
    imported = {name for name in vars(agentkit) if not name.startswith("_")} - modules
    assert imported == set(agentkit.__all__)


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
