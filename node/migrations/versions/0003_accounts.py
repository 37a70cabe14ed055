"""Accounts, sessions and failed sign-ins; cases that are urgent, and the text they are found by."""

import sqlalchemy as sa
from alembic import op

from node.cases import search_text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables and the columns, and fill what is searched."""
    op.create_table(
        "accounts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("password_changed_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_accounts")),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(), nullable=False),
        sa.Column("used_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name=op.f("fk_sessions_account"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_account"), "sessions", ["account"], unique=False)
    op.create_table(
        "sign_in_failures",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("origin", name=op.f("pk_sign_in_failures")),
    )
    op.add_column("cases", sa.Column("urgent", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("cases", sa.Column("search_text", sa.Text(), server_default="", nullable=False))
    _fill()


def _fill() -> None:
    connection = op.get_bind()
    names = ("id", "accession_number", "container_identifier", "patient_id", "patient_name", "search_text")
    cases = sa.table("cases", *(sa.column(name, sa.Text) for name in names))
    for case in connection.execute(sa.select(cases)).mappings().all():
        filled = cases.update().where(cases.c.id == case["id"]).values(search_text=search_text(dict(case)))
        connection.execute(filled)
