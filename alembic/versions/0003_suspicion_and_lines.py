"""Which crashes of a task came in a row, and when the line of a concurrency key is to be looked at again"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")


def upgrade() -> None:
    op.add_column("tasks", sa.Column("suspicion", sa.Integer(), server_default="0", nullable=False))
    op.add_column("concurrency_keys", sa.Column("release_at", _TIME, nullable=True))
    op.create_index(op.f("ix_concurrency_keys_release_at"), "concurrency_keys", ["release_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_concurrency_keys_release_at"), "concurrency_keys")
    op.drop_column("concurrency_keys", "release_at")
    op.drop_column("tasks", "suspicion")
