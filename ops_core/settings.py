"""Every setting, typed: where the environment is read, and nowhere else in ops_core."""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ops_core.domain.caller import Operation
from ops_core.domain.task import QUEUE_NAME
from ops_core.errors import ConfigurationInvalid, FieldProblem
from ops_core.wire.api_keys import key_that_may, read_api_keys

#: Every variable of ours begins so.
ENV_PREFIX = "OPS_CORE_"
#: Fields that may also come from a file whose path is in `<variable>_FILE`, as Docker secrets do.
FILE_FIELDS = frozenset({"api_key", "api_keys", "broker_url", "database_url"})
#: Names that hosting platforms inject, first found wins; our own variables win over them.
PLATFORM_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "database_url": ("DATABASE_URL",),
    "broker_url": ("AMQP_URL", "CLOUDAMQP_URL"),
    "port": ("PORT",),
}
#: A secret file longer than this is some other file.
_MAX_SECRET_BYTES = 64 * 1024


class _FromFile(PydanticBaseSettingsSource):
    """Values read from the files that `<variable>_FILE` variables name."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str | None]) -> None:
        super().__init__(settings_cls)
        self._variables = variables

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{variable_of(field_name)}_FILE"
        path = self._variables.get(variable.lower()) if field_name in FILE_FIELDS else None
        return (_read_secret(variable, Path(path)) if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        return _found(self)


class _FromPlatform(PydanticBaseSettingsSource):
    """Values under the names that hosting platforms inject."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str | None]) -> None:
        super().__init__(settings_cls)
        self._variables = variables

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = self.name_used(field_name)
        return (self._variables[name.lower()] if name else None), field_name, False

    def name_used(self, field_name: str) -> str | None:
        return next((n for n in PLATFORM_VARIABLES.get(field_name, ()) if self._variables.get(n.lower())), None)

    def __call__(self) -> dict[str, Any]:
        return _found(self)


class _Layered(BaseSettings):
    """Flags win over the environment, that over `.env`, that over names that platforms inject, then defaults."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        # `NAME=` in a compose file means "not set", above all for a key.
        env_ignore_empty=True,
        extra="ignore",
        allow_inf_nan=False,
        frozen=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - theirs; ours name their file
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return tuple(source for _, source in _sources(settings_cls, init_settings, env_settings, dotenv_settings))


class Settings(_Layered):
    """What the processes of an installation want to know."""

    # store and broker
    database_url: str = Field(
        default="sqlite:///.ops-core/ops.db",
        repr=False,
        description="SQLite file (`sqlite:///path`) or PostgreSQL (`postgresql://user@host/db`).",
    )
    broker_url: str = Field(
        default="memory://",
        repr=False,
        description="`memory://` for the in-process queue (one process) or `amqp://user:password@host/vhost`.",
    )
    start_timeout_seconds: float = Field(
        default=60.0, gt=0, description="How long a process waits at start for the database, with back-off."
    )

    # doors
    host: str = Field(default="127.0.0.1", pattern=r"^\S+$", description="Address that HTTP and gRPC listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="HTTP port.")
    grpc_port: int = Field(default=50051, ge=0, le=65535, description="gRPC port.")
    api_key: SecretStr | None = Field(
        default=None,
        description="When set, every operation wants a key, and this one may do everything. This or "
        "`OPS_CORE_API_KEYS` is required for a non-loopback address.",
    )
    api_keys: SecretStr | None = Field(
        default=None,
        description='Keys of callers, as a JSON list: `[{"key": "…", "subject": "ada", "roles": ["approver"], '
        '"groups": ["finance"]}]`. Roles: `admin`, `operator`, `approver`, `submitter`, `viewer`; `"agent": "name"` '
        "marks an agent's own key, which never decides.",
    )
    max_body_bytes: int = Field(default=1_000_000, gt=0, description="Largest request body or gRPC message.")
    max_goal_chars: int = Field(default=100_000, gt=0, description="Longest goal.")
    max_json_depth: int = Field(default=32, gt=0, description="Deepest nesting of a request body.")
    max_batch: int = Field(default=500, gt=0, description="Most tasks in one batch submit.")
    max_wait_seconds: float = Field(default=60.0, gt=0, description="Longest a request may wait for a task.")

    # agents
    agents_dir: Path = Field(default=Path("agents"), description="Folder of agent files (`*.yaml`).")
    mcp_config: Path | None = Field(
        default=None, description="File with `mcpServers` (default: `mcp.json` beside the agents or in this folder)."
    )
    load_test_mock_agent_delay_ms: int | None = Field(
        default=None, ge=0, description="For load tests only: every agent waits this long instead of asking a model."
    )
    max_depth: int = Field(default=8, ge=1, le=100, description="How deep agents may call each other.")

    # workers
    queues: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("default",), description="Queues that workers take tasks from, separated by commas."
    )
    concurrency: int = Field(default=100, gt=0, le=10_000, description="Agents at once in each worker process.")
    processes: int = Field(default=1, gt=0, le=256, description="Worker processes.")
    lease_seconds: float = Field(default=30.0, ge=1, description="A worker not heard of for this long loses its tasks.")
    max_crashes: int = Field(
        default=20,
        gt=0,
        description="Lost leases after which a task fails: the last resort. A crash convicts nobody, since a worker "
        "takes all of its tasks with it; after two in a row, a task runs alone in a child process.",
    )
    isolated_runs: int = Field(default=2, gt=0, le=100, description="Tasks that run alone, at once in each worker.")
    isolated_memory_mb: int = Field(default=1024, ge=128, description="Memory of a task that runs alone, in megabytes.")
    drain_seconds: float = Field(default=8.0, ge=0, description="Time running agents get to reach a step boundary.")
    loop_stall_seconds: float = Field(
        default=30.0, gt=0, description="A worker whose event loop stands still for this long ends itself."
    )

    # housekeeping
    housekeeper_interval_seconds: float = Field(default=1.0, gt=0, description="Pause between housekeeping ticks.")
    ring_again_seconds: float = Field(
        default=10.0, ge=0, description="Age of a ring after which lost tickets are rung again."
    )
    keep_completed_days: float | None = Field(
        default=None, gt=0, le=36_500, description="Days that completed tasks are kept. Unset: for ever."
    )
    keep_unhappy_days: float | None = Field(
        default=None,
        gt=0,
        le=36_500,
        description="Days that failed, canceled and rejected tasks are kept. Unset: for ever.",
    )
    archive_dir: Path | None = Field(
        default=None, description="Folder where tasks are written down before they are deleted. Unset: they are not."
    )

    # logs
    log_level: str = Field(default="info", pattern="^(?i:debug|info|warning|error)$", description="debug … error.")
    log_json: bool | None = Field(default=None, description="JSON lines; unset: JSON unless on a terminal.")

    @field_validator("api_keys")
    @classmethod
    def _known_callers(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            try:
                read_api_keys(keys.get_secret_value())
            except ConfigurationInvalid as error:
                raise ValueError(error.detail) from None
        return keys

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        url = re.sub(r"^postgres(ql\+psycopg)?://", "postgresql://", url)
        if url.startswith("postgresql://") or re.match(r"sqlite:///(?!$|:memory:)", url):
            return url
        raise ValueError("must be sqlite:///path/to/file.db or postgresql://user:password@host/database")

    @field_validator("broker_url")
    @classmethod
    def _known_broker(cls, url: str) -> str:
        if url == "memory://" or re.match(r"amqps?://.", url):
            return url
        raise ValueError("must be memory:// or amqp://user:password@host/vhost")

    @field_validator("queues")
    @classmethod
    def _known_queues(cls, queues: tuple[str, ...]) -> tuple[str, ...]:
        if not queues or not all(re.fullmatch(QUEUE_NAME, queue) for queue in queues):
            raise ValueError(
                "must be one or more names of 1 to 63 lower-case letters, digits, `_` or `-`, not a digit first"
            )
        return queues

    @field_validator("queues", mode="before")
    @classmethod
    def _split_queues(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        return value


class ClientSettings(_Layered):
    """What the command line wants to know to reach a server."""

    url: str = Field(
        default="http://127.0.0.1:8000", pattern="^https?://", description="Where the client commands find the server."
    )
    api_key: SecretStr | None = Field(default=None, description="Sent with every request of the client commands.")


_AnySettings = TypeVar("_AnySettings", bound=_Layered)


def load_settings(cls: type[_AnySettings], flags: Mapping[str, object] | None = None) -> _AnySettings:
    """Settings from all sources; flags that are None were not given.

    Raises:
        ConfigurationInvalid: one problem per variable that is wrong; values are not repeated, they may be secret.
    """
    try:
        return cls(**_given(flags))
    except ValidationError as error:
        layers = _layers(cls, flags)
        wrong = [(str(item["loc"][0]), item["msg"]) for item in error.errors(include_url=False, include_input=False)]
        problems = [
            FieldProblem(variable_of(name), f"{text.removeprefix('Value error, ')} (from: {_source_of(name, layers)})")
            for name, text in wrong
        ]
        raise ConfigurationInvalid("a setting is not valid", problems=problems) from error
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid(f"the file .env is not UTF-8: {error}") from error


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """One setting as it may be shown: its value in text with secrets masked, and where it came from."""

    name: str
    variable: str
    value: str | None
    source: str


def show_settings(settings: _Layered, flags: Mapping[str, object] | None = None) -> list[ShownSetting]:
    """Every value with its source. `flags` are the ones the settings were loaded with."""
    layers = _layers(type(settings), flags)
    return [
        ShownSetting(name, variable_of(name), shown_value(getattr(settings, name)), _source_of(name, layers))
        for name in type(settings).model_fields
    ]


def shown_value(value: object) -> str | None:
    """A setting's value as text, fit to be seen: no key, no password."""
    match value:
        case None:
            return None
        case SecretStr():
            return "********"
        case tuple():
            return ",".join(str(item) for item in value)
        case str():
            return masked_url(value)
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def masked_url(url: str) -> str:
    """The URL without the password in it, whether before the host or in the query. Other text stays as it is."""
    # Up to the last @, since an unescaped @ or / in a password must not leave its tail in sight.
    url = re.sub(r"(?<=://)([^:/?@]*):[^?\s]*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&][^=&]*(?:password|secret|token)[^=&]*=)[^&#\s]*", r"\1***", url)


def variable_of(field_name: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + field_name.upper()


def unknown_variables() -> list[str]:
    """Variables in the environment or in `.env` with our prefix that no setting reads: typing errors, most often."""
    names = {variable_of(name) for cls in (Settings, ClientSettings) for name in cls.model_fields}
    names |= {f"{variable_of(name)}_FILE" for name in FILE_FIELDS}
    seen = {name.upper() for name in (*os.environ, *_dotenv())}
    return sorted(name for name in seen if name.startswith(ENV_PREFIX) and name not in names)


def export_dotenv() -> None:
    """Put what `.env` says into this process's environment where it is unset.

    Vendors' SDKs, AGENTKIT_ settings, MCP configuration and child processes read the environment themselves.
    """
    for name, value in _dotenv().items():
        if value:
            os.environ.setdefault(name, value)


def editor_command() -> list[str]:
    """The person's own editor, as every program asks for it."""
    return shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi") or ["vi"]


def leave_forks_to_exec() -> None:
    """Tell gRPC that children of this process exec at once. It would write a line on stderr about each of them.

    To be called before gRPC is imported: that is when it looks.
    """
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def export_flags(flags: Mapping[str, object]) -> None:
    """Put the flags into this process's environment, so that its child processes load the same settings."""
    os.environ.update({variable_of(name): _as_variable(value) for name, value in _given(flags).items()})


def environment_of(settings: _Layered) -> dict[str, str]:
    """The environment in which a child process loads these very settings, wherever they came from."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    return {**os.environ, **{variable_of(name): _as_variable(value) for name, value in _given(values).items()}}


def wants_a_key(settings: Settings) -> bool:
    """Whether the servers ask their callers for a key."""
    return settings.api_key is not None or settings.api_keys is not None


def own_key(settings: Settings) -> str | None:
    """A key for what a process asks its own server: it may submit. None where there is no such key, or none at all."""
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    return key_that_may(settings.api_keys.get_secret_value(), Operation.submit) if settings.api_keys else None


def require_safe_address(settings: Settings) -> None:
    """Raises:
    ConfigurationInvalid: others than this machine could reach the servers, and no key protects them.
    """
    if wants_a_key(settings) or _is_loopback(settings.host):
        return
    raise ConfigurationInvalid(
        f"the address {settings.host} can be reached from other machines and no API key is set: "
        f"set {variable_of('api_key')} or {variable_of('api_keys')}, or listen on 127.0.0.1"
    )


def require_shared_queue(settings: Settings) -> None:
    """Raises:
    ConfigurationInvalid: the queue lives in one process, and a process of its own would be alone with it.
    """
    if settings.broker_url == "memory://":
        raise ConfigurationInvalid(
            "the in-process queue (memory://) reaches nobody outside its process: set OPS_CORE_BROKER_URL to a "
            "RabbitMQ (amqp://user:password@host/vhost), or run everything in one process with `ops-core up`"
        )


def _sources(
    cls: type[BaseSettings],
    flags: PydanticBaseSettingsSource,
    environment: PydanticBaseSettingsSource,
    dotenv: PydanticBaseSettingsSource,
) -> list[tuple[str, PydanticBaseSettingsSource]]:
    """Every source with its name, the winner first."""
    env_variables: Mapping[str, str | None] = environment.env_vars if isinstance(environment, EnvSettingsSource) else {}
    file_variables: Mapping[str, str | None] = dotenv.env_vars if isinstance(dotenv, EnvSettingsSource) else {}
    return [
        ("flag", flags),
        ("environment", environment),
        ("file named in the environment", _FromFile(cls, env_variables)),
        (".env", dotenv),
        ("file named in .env", _FromFile(cls, file_variables)),
        ("platform variable", _FromPlatform(cls, {**file_variables, **env_variables})),
    ]


def _layers(
    cls: type[BaseSettings], flags: Mapping[str, object] | None
) -> list[tuple[str, PydanticBaseSettingsSource]]:
    return _sources(cls, InitSettingsSource(cls, _given(flags)), EnvSettingsSource(cls), DotEnvSettingsSource(cls))


def _source_of(name: str, layers: list[tuple[str, PydanticBaseSettingsSource]]) -> str:
    for label, source in layers:
        if name in source():
            return f"{label} {source.name_used(name)}" if isinstance(source, _FromPlatform) else label
    return "default"


def _found(source: PydanticBaseSettingsSource) -> dict[str, Any]:
    values = {name: source.get_field_value(field, name)[0] for name, field in source.settings_cls.model_fields.items()}
    return {name: value for name, value in values.items() if value is not None}


def _read_secret(variable: str, path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_SECRET_BYTES:
            raise ConfigurationInvalid(f"{variable} names {path}, which is too large to be a secret")
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid(f"{variable} names {path}, which cannot be read: {error}") from error
    if not value:
        raise ConfigurationInvalid(f"{variable} names {path}, which is empty")
    return value


def _dotenv() -> Mapping[str, str | None]:
    """What `.env` says, names as they are written."""
    return DotEnvSettingsSource(Settings, case_sensitive=True).env_vars


def _given(flags: Mapping[str, object] | None) -> dict[str, Any]:
    return {name: value for name, value in (flags or {}).items() if value is not None}


def _as_variable(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(str(item) for item in value) if isinstance(value, (tuple, list)) else str(value)


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        # A name may resolve to anything, today or tomorrow.
        return False
