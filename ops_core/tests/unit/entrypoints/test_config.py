"""`config show` and the table for the documentation say what the settings are."""

from __future__ import annotations

import json

import pytest

from ops_core.entrypoints.settings_table import settings_table
from ops_core.settings import ClientSettings, Settings, variable_of
from ops_core.tests.unit.entrypoints.conftest import Command


def test_shows_each_value_with_its_source_and_no_secret(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_CORE_API_KEY", "hunter2")
    monkeypatch.setenv("DATABASE_URL", "postgres://u:hunter2@h/d")
    told = command("config", "show", "-o", "json")
    shown = {one["variable"]: one for one in json.loads(told.out)}
    assert "hunter2" not in told.out + command("config", "show").out
    assert shown["OPS_CORE_API_KEY"]["value"] == "********"
    assert shown["OPS_CORE_DATABASE_URL"]["value"] == "postgresql://u:***@h/d"
    assert shown["OPS_CORE_DATABASE_URL"]["source"] == "platform variable DATABASE_URL"
    assert shown["OPS_CORE_PORT"]["source"] == "default"
    assert "OPS_CORE_URL" in shown


def test_warns_of_a_variable_that_nothing_reads(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_CORE_PROT", "1")
    told = command("config", "show")
    assert told.code == 0
    assert "OPS_CORE_PROT" in told.err


def test_the_table_has_a_row_for_every_variable() -> None:
    rows = settings_table().splitlines()[2:]
    names = [
        *Settings.model_fields,
        *(name for name in ClientSettings.model_fields if name not in Settings.model_fields),
    ]
    assert [row.split("|")[1].strip() for row in rows] == [f"`{variable_of(name)}`" for name in names]
    assert all(row.count("|") == 4 and row.split("|")[3].strip() for row in rows)
