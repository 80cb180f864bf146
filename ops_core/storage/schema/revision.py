"""Which version of the schema this code works on."""

from __future__ import annotations

#: The migration that this code is written for; a test holds it equal to Alembic's head.
SCHEMA_REVISION = "0004"


def fits(revision: str | None) -> bool:
    """Whether this code can work on a schema: its own or a newer one, since migrations expand before they contract."""
    return revision is not None and revision >= SCHEMA_REVISION
