"""A delivery to a LIS tells whether the LIS may have taken the message."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; of what was tried before, nobody knows that it was not taken."""
    op.add_column("deliveries", sa.Column("handed_over_at", sa.DateTime(), nullable=True))
    op.execute("UPDATE deliveries SET handed_over_at = updated_at WHERE kind = 'hl7' AND attempts > 0")
