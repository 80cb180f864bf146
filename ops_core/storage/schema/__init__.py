"""The tables: one MetaData, the same on SQLite and PostgreSQL."""

from ops_core.storage.schema.agent_tables import agent_versions as agent_versions
from ops_core.storage.schema.agent_tables import agents as agents
from ops_core.storage.schema.base import metadata as metadata
from ops_core.storage.schema.blob_table import blobs as blobs
from ops_core.storage.schema.key_tables import concurrency_keys as concurrency_keys
from ops_core.storage.schema.key_tables import fairness_keys as fairness_keys
from ops_core.storage.schema.key_tables import rate_keys as rate_keys
from ops_core.storage.schema.revision import SCHEMA_REVISION as SCHEMA_REVISION
from ops_core.storage.schema.revision import fits as fits
from ops_core.storage.schema.schedule_table import schedules as schedules
from ops_core.storage.schema.task_tables import EVENT_RULES as EVENT_RULES
from ops_core.storage.schema.task_tables import IS_LET_IN_BY_RATE as IS_LET_IN_BY_RATE
from ops_core.storage.schema.task_tables import IS_LIVE as IS_LIVE
from ops_core.storage.schema.task_tables import IS_UNHAPPY as IS_UNHAPPY
from ops_core.storage.schema.task_tables import TASK_RULES as TASK_RULES
from ops_core.storage.schema.task_tables import task_deltas as task_deltas
from ops_core.storage.schema.task_tables import task_events as task_events
from ops_core.storage.schema.task_tables import tasks as tasks
from ops_core.storage.schema.wait_tables import approval_votes as approval_votes
from ops_core.storage.schema.wait_tables import approvals as approvals
from ops_core.storage.schema.wait_tables import signals as signals
from ops_core.storage.schema.wait_tables import waits as waits
from ops_core.storage.schema.worker_table import workers as workers
