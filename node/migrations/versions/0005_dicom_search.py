"""The index DICOMweb searches has columns for what is searched most; rows are found by the time they were added."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_COLUMNS = ("accession_number", "patient_id", "patient_name", "study_date")
_INDEXED = (
    ("dicom_index", "accession_number"),
    ("dicom_index", "patient_id"),
    ("instances", "received_at"),
    ("objects", "created_at"),
)


def upgrade() -> None:
    """Add columns and indexes; the emptied index fills itself from the files."""
    op.execute("DELETE FROM dicom_index")
    with op.batch_alter_table("dicom_index") as table:
        for name in _COLUMNS:
            table.add_column(sa.Column(name, sa.Text(), server_default="", nullable=False))
    for table_name, column in _INDEXED:
        op.create_index(op.f(f"ix_{table_name}_{column}"), table_name, [column], unique=False)
