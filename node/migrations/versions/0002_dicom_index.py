"""The index DICOMweb searches."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table; it fills itself from the files."""
    op.create_table(
        "dicom_index",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text(), server_default="", nullable=False),
        sa.Column("transfer_syntax_uid", sa.Text(), server_default="", nullable=False),
        sa.Column("number_of_frames", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("added_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_dicom_index")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_dicom_index_sop_instance_uid")),
    )
    with op.batch_alter_table("dicom_index", schema=None) as batch_op:
        for column in ("series_instance_uid", "study_instance_uid"):
            batch_op.create_index(batch_op.f(f"ix_dicom_index_{column}"), [column], unique=False)
