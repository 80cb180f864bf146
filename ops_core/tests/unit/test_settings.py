"""Settings: which source wins, what is refused, and what may be seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops_core.errors import ConfigurationInvalid
from ops_core.settings import (
    ClientSettings,
    Settings,
    ShownSetting,
    export_dotenv,
    export_flags,
    load_settings,
    masked_url,
    require_safe_address,
    show_settings,
    unknown_variables,
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and an environment without variables that any setting reads."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("OPS_CORE_") or name in {"DATABASE_URL", "AMQP_URL", "CLOUDAMQP_URL", "PORT"}:
            monkeypatch.delenv(name)


def shown(name: str, flags: dict[str, object] | None = None) -> ShownSetting:
    settings = load_settings(Settings, flags)
    return next(one for one in show_settings(settings, flags) if one.name == name)


def test_each_source_wins_over_those_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [shown("port")]
    monkeypatch.setenv("PORT", "1")
    seen.append(shown("port"))
    Path(".env").write_text("OPS_CORE_PORT=2\n")
    seen.append(shown("port"))
    monkeypatch.setenv("OPS_CORE_PORT", "3")
    seen.append(shown("port"))
    seen.append(shown("port", {"port": 4, "host": None}))
    assert [(one.value, one.source) for one in seen] == [
        ("8000", "default"),
        ("1", "platform variable PORT"),
        ("2", ".env"),
        ("3", "environment"),
        ("4", "flag"),
    ]


@pytest.mark.parametrize(
    ("variable", "value", "name", "read"),
    [
        ("DATABASE_URL", "postgres://u@h/d", "database_url", "postgresql://u@h/d"),
        ("AMQP_URL", "amqp://h/", "broker_url", "amqp://h/"),
        ("CLOUDAMQP_URL", "amqps://h/v", "broker_url", "amqps://h/v"),
        ("PORT", "5000", "port", 5000),
    ],
)
def test_names_that_platforms_inject_are_read(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str, read: object
) -> None:
    monkeypatch.setenv(variable, value)
    assert getattr(load_settings(Settings), name) == read


def test_a_secret_comes_from_the_file_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    monkeypatch.setenv("OPS_CORE_API_KEY_FILE", str(tmp_path / "key"))
    for settings in (load_settings(Settings), load_settings(ClientSettings)):
        assert settings.api_key is not None
        assert settings.api_key.get_secret_value() == "s3cret"
    assert shown("api_key") == ShownSetting("api_key", "OPS_CORE_API_KEY", "********", "file named in the environment")
    monkeypatch.setenv("OPS_CORE_API_KEY", "other")
    assert shown("api_key").source == "environment"


KEYS = '[{"key": "s3cret", "subject": "ada", "roles": ["approver"], "groups": ["finance"]}]'


def test_callers_keys_come_from_a_variable_or_a_file_and_are_shown_to_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys.json").write_text(KEYS)
    monkeypatch.setenv("OPS_CORE_API_KEYS_FILE", str(tmp_path / "keys.json"))
    keys = load_settings(Settings).api_keys
    assert keys is not None
    assert keys.get_secret_value() == KEYS
    assert shown("api_keys").value == "********"


@pytest.mark.parametrize("keys", ["s3cret", '[{"key": "s3cret", "subject": "ada", "roles": ["root"]}]', "[]"])
def test_callers_keys_that_cannot_be_read_are_refused_without_being_repeated(
    monkeypatch: pytest.MonkeyPatch, keys: str
) -> None:
    monkeypatch.setenv("OPS_CORE_API_KEYS", keys)
    with pytest.raises(ConfigurationInvalid) as caught:
        load_settings(Settings)
    (problem,) = caught.value.problems
    assert problem.pointer == "OPS_CORE_API_KEYS"
    assert "list of API keys is not valid" in problem.detail
    assert "s3cret" not in problem.detail


def test_callers_keys_make_another_address_safe() -> None:
    require_safe_address(load_settings(Settings, {"host": "0.0.0.0", "api_keys": KEYS}))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"x" * 100_000])
def test_a_secret_file_that_cannot_be_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("OPS_CORE_DATABASE_URL_FILE", str(file))
    with pytest.raises(ConfigurationInvalid, match="OPS_CORE_DATABASE_URL_FILE"):
        load_settings(Settings)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_CORE_API_KEY", "")
    assert load_settings(Settings).api_key is None


def test_queues_are_a_comma_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_CORE_QUEUES", " fast, slow ,fast,")
    assert load_settings(Settings).queues == ("fast", "slow")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OPS_CORE_PORT", "70000"),
        ("OPS_CORE_PORT", "http"),
        ("OPS_CORE_LEASE_SECONDS", "inf"),
        ("OPS_CORE_LEASE_SECONDS", "nan"),
        ("OPS_CORE_CONCURRENCY", "0"),
        ("OPS_CORE_QUEUES", " , "),
        ("OPS_CORE_LOG_LEVEL", "loud"),
        ("OPS_CORE_DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("OPS_CORE_DATABASE_URL", "sqlite:///:memory:"),
        ("OPS_CORE_DATABASE_URL", "sqlite://"),
        ("OPS_CORE_BROKER_URL", "redis://:hunter2@h"),
        ("OPS_CORE_HOST", " "),
    ],
)
def test_a_wrong_value_names_its_variable_and_not_itself(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationInvalid) as caught:
        load_settings(Settings)
    [problem] = caught.value.problems
    assert problem.pointer == variable
    assert "(from: environment)" in problem.detail
    assert "hunter2" not in f"{caught.value} {caught.value.problems}"


def test_every_wrong_value_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_CORE_PORT", "-1")
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("DATABASE_URL", "mysql://h/d")
    with pytest.raises(ConfigurationInvalid) as caught:
        load_settings(Settings)
    assert [(one.pointer, one.detail.rpartition("(")[2]) for one in caught.value.problems] == [
        ("OPS_CORE_DATABASE_URL", "from: platform variable DATABASE_URL)"),
        ("OPS_CORE_PORT", "from: environment)"),
    ]


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("amqp://user:pass@host/v", "amqp://user:***@host/v"),
        ("postgresql://u:p@ss/w:rd@host/d", "postgresql://u:***@host/d"),
        (
            "postgresql://h/d?user=u&password=p%40&sslmode=require",
            "postgresql://h/d?user=u&password=***&sslmode=require",
        ),
        ("postgresql://user@host/d", "postgresql://user@host/d"),
        ("sqlite:///a@b:c.db", "sqlite:///a@b:c.db"),
        ("memory://", "memory://"),
    ],
)
def test_passwords_in_urls_are_masked(url: str, masked: str) -> None:
    assert masked_url(url) == masked


def test_secrets_are_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_CORE_DATABASE_URL", "postgresql://u:hunter2@h/d")
    monkeypatch.setenv("OPS_CORE_BROKER_URL", "amqp://u:hunter2@h/d")
    monkeypatch.setenv("OPS_CORE_API_KEY", "hunter2")
    settings = load_settings(Settings)
    assert "hunter2" not in f"{settings!r} {settings} {show_settings(settings)}"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"])
def test_a_loopback_address_needs_no_key(host: str) -> None:
    require_safe_address(load_settings(Settings, {"host": host}))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", "localhost.example.com"])
def test_any_other_address_needs_a_key(host: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="OPS_CORE_API_KEY"):
        require_safe_address(load_settings(Settings, {"host": host}))
    require_safe_address(load_settings(Settings, {"host": host, "api_key": "k"}))


def test_variables_that_nothing_reads_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_CORE_PROT", "1")
    monkeypatch.setenv("OPS_CORE_URL", "http://h")
    Path(".env").write_text("OPS_CORE_DATABASE_URI=x\nOPS_CORE_BROKER_URL_FILE=y\nOTHER=z\n")
    assert unknown_variables() == ["OPS_CORE_DATABASE_URI", "OPS_CORE_PROT"]


def test_dotenv_reaches_the_libraries_and_never_replaces_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "mine")
    monkeypatch.setenv("AGENTKIT_LLM_MODEL", "")
    monkeypatch.delenv("AGENTKIT_LLM_MODEL")
    Path(".env").write_text("OPENAI_API_KEY=other\nAGENTKIT_LLM_MODEL=m\nEMPTY_ONE=\n")
    export_dotenv()
    assert (os.environ["OPENAI_API_KEY"], os.environ["AGENTKIT_LLM_MODEL"]) == ("mine", "m")
    assert "EMPTY_ONE" not in os.environ


def test_a_child_process_loads_what_the_flags_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPS_CORE_CONCURRENCY", "OPS_CORE_QUEUES"):
        monkeypatch.setenv(name, "9")
    flags: dict[str, object] = {"concurrency": 7, "queues": ("a", "b"), "processes": None}
    export_flags(flags)
    assert load_settings(Settings) == load_settings(Settings, flags)


def test_the_client_finds_a_server_on_this_machine_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(ClientSettings).url == "http://127.0.0.1:8000"
    monkeypatch.setenv("OPS_CORE_URL", "https://ops.example.com")
    assert load_settings(ClientSettings).url == "https://ops.example.com"
    assert load_settings(ClientSettings, {"url": "http://other"}).url == "http://other"
    with pytest.raises(ConfigurationInvalid, match="not valid"):
        load_settings(ClientSettings, {"url": "ops.example.com"})
