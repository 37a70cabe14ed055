"""The tables of the node; `node/migrations` brings an older database to them.

The tables of DBOS, which carries out the workflows, stand beside these in the same database, so that a change of state
and the work it asks for are one transaction.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An instant, kept in UTC without a zone; in Python always with the zone UTC."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, *, index: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, default="", server_default="", index=index)


# Received DICOM instances, one row each; the file at `path` is byte for byte what was sent.
instances = sa.Table(
    "instances",
    metadata,
    sa.Column("sop_instance_uid", sa.Text, primary_key=True),
    sa.Column("series_instance_uid", sa.Text, nullable=False, index=True),
    sa.Column("study_instance_uid", sa.Text, nullable=False, index=True),
    sa.Column("sop_class_uid", sa.Text, nullable=False),
    sa.Column("transfer_syntax_uid", sa.Text, nullable=False),
    _text("modality"),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("number_of_frames", sa.Integer, nullable=False, default=1),
    _text("calling_ae"),
    sa.Column("received_at", UtcDateTime, nullable=False, index=True),
)

# One scan of one glass slide: a series of WSI instances (CP-LAB-279).
slides = sa.Table(
    "slides",
    metadata,
    sa.Column("series_instance_uid", sa.Text, primary_key=True),
    sa.Column("study_instance_uid", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),  # receiving, complete, incomplete
    _text("digest"),
    _text("problem"),
    _text("accession_number"),
    _text("container_identifier"),
    _text("specimen_identifier"),
    _text("patient_id"),
    _text("patient_issuer"),
    _text("patient_name"),
    sa.Column("patient_birth_date", sa.Date),
    _text("patient_sex"),
    sa.Column("info", sa.JSON),  # the whole `SlideInfo`, once the slide was read
    sa.Column("instance_count", sa.Integer, nullable=False, default=0),
    sa.Column("first_instance_at", UtcDateTime, nullable=False),
    sa.Column("last_instance_at", UtcDateTime, nullable=False),
    sa.Column("released_at", UtcDateTime),
)

# Every HL7 message in and out, as the bytes that were on the line, with the answer.
messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("direction", sa.Text, nullable=False),  # in, out
    sa.Column("duplicate_key", sa.Text, unique=True),  # null when the message has no header to tell it by
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("reply", sa.LargeBinary),
    _text("peer"),
    _text("control_id"),
    sa.Column("at", UtcDateTime, nullable=False, index=True),
    sa.Column("case_id", sa.Text, index=True),
)

# Orders as the LIS placed them; `body` is the whole `Order` as JSON. A registration of a slide is kept the same way.
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("business_key", sa.Text, nullable=False, unique=True),
    _text("placer_order_number", index=True),
    _text("filler_order_number", index=True),
    sa.Column("state", sa.Text, nullable=False, index=True),  # open, cancelled, registered
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

# What an order can be found by: its accession number, containers and specimens, normalised; and, for a registration,
# the series and studies that its archive holds or has withdrawn.
order_keys = sa.Table(
    "order_keys",
    metadata,
    sa.Column("order_id", sa.Text, sa.ForeignKey("orders.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),  # accession, container, specimen; series, study, withdrawn
    sa.Column("value", sa.Text, primary_key=True),
    sa.Index("ix_order_keys_kind_value", "kind", "value"),
)

# What a slide can be found by, the same way.
slide_keys = sa.Table(
    "slide_keys",
    metadata,
    sa.Column(
        "series_instance_uid",
        sa.Text,
        sa.ForeignKey("slides.series_instance_uid", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Index("ix_slide_keys_kind_value", "kind", "value"),
)

cases = sa.Table(
    "cases",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("order_id", sa.Text, sa.ForeignKey("orders.id"), index=True),
    sa.Column("series_instance_uid", sa.Text, sa.ForeignKey("slides.series_instance_uid"), index=True),
    sa.Column("state", sa.Text, nullable=False, index=True),
    _text("cause"),
    sa.Column("priority", sa.Text, nullable=False),
    _text("accession_number", index=True),
    _text("container_identifier", index=True),
    _text("patient_id", index=True),
    _text("patient_name"),
    _text("search_text"),  # of the five above and the id; see `node.cases.search_text`
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
    sa.Column("updated_at", UtcDateTime, nullable=False, index=True),
    sa.Column("analysed_at", UtcDateTime),
    # the run: which slide content, which attempt, how far
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    _text("slide_digest"),
    _text("stage"),
    sa.Column("progress", sa.Float, nullable=False, default=0.0),
    _text("hold_cause"),  # why a person must look once everything is delivered
    # the result
    sa.Column("revision", sa.Integer, nullable=False, default=0),
    _text("result_status"),
    _text("bundle_name"),
    _text("bundle_version"),
    _text("bundle_digest"),
    sa.Column("total_cells", sa.Integer),
    sa.Column("me_ratio", sa.Float),
    sa.Column("alerts", sa.JSON, nullable=False, default=list),  # what pipeline and slide warn of
    sa.Column("review_alerts", sa.JSON, nullable=False, default=list),  # see node/results/alerts.py
    sa.Column("synthetic", sa.Boolean, nullable=False, default=False),
    sa.Column("urgent", sa.Boolean, nullable=False, default=False, server_default=sa.false()),  # first in the worklist
)

case_events = sa.Table(
    "case_events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("case_id", sa.Text, sa.ForeignKey("cases.id"), nullable=False, index=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    _text("cause"),
    sa.Column("actor", sa.Text, nullable=False),
)

# One result to one destination.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("case_id", sa.Text, sa.ForeignKey("cases.id"), nullable=False, index=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # dicom, stow, hl7
    sa.Column("state", sa.Text, nullable=False, index=True),  # pending, sent, refused, dead, superseded
    sa.Column("generation", sa.Integer, nullable=False, default=0),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    _text("problem"),
    sa.Column("next_attempt_at", UtcDateTime),
    sa.Column("handed_over_at", UtcDateTime),  # to a LIS, which may have taken it; null when it surely has not
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

# What a case made: SEG, ANN, SR, SR3D, KO, and the files beside them.
objects = sa.Table(
    "objects",
    metadata,
    sa.Column("case_id", sa.Text, sa.ForeignKey("cases.id"), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    _text("sop_class_uid"),
    _text("sop_instance_uid", index=True),
    _text("series_instance_uid"),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
)

# What one run of a case counted; see node/results/run_book.py.
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("case_id", sa.Text, sa.ForeignKey("cases.id"), primary_key=True),
    sa.Column("run", sa.Integer, primary_key=True),
    sa.Column("revision", sa.Integer, nullable=False),  # of its first result
    sa.Column("files", sa.JSON, nullable=False),  # of the slide
    sa.Column("slide", sa.JSON, nullable=False),  # `SlideInfo`
    sa.Column("bundle", sa.JSON, nullable=False),  # `BundleInfo`
    sa.Column("field_um", sa.Float, nullable=False),
    sa.Column("warnings", sa.JSON, nullable=False),
    sa.Column("analysed_at", UtcDateTime, nullable=False),
)

# Every change an expert made to a cell, oldest first; none is altered or taken out. See node/review/review_book.py.
cell_changes = sa.Table(
    "cell_changes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),  # the version of the cell and of the review
    sa.Column("case_id", sa.Text, sa.ForeignKey("cases.id"), nullable=False),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("cell_id", sa.Integer, nullable=False),
    sa.Column("class_name", sa.Text),  # null: the model's again
    sa.Column("previous", sa.Text, nullable=False),  # the class before
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False, index=True),
    sa.Column("blind", sa.Boolean, nullable=False),  # chosen while the model's class was hidden
    sa.Index("ix_cell_changes_case_id_run_id", "case_id", "run", "id"),
)

# Who signed which state of a review; each is one revision of the case's result. See node/signing.py.
signatures = sa.Table(
    "signatures",
    metadata,
    sa.Column("case_id", sa.Text, sa.ForeignKey("cases.id"), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),  # of the review: the newest change that is signed
    sa.Column("status", sa.Text, nullable=False),  # F, C
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("full_name", sa.Text, nullable=False),
    _text("reason"),  # why it was signed with mandatory reviews open
    sa.Column("at", UtcDateTime, nullable=False),
)

# Who took back a result, of which run and slide, by the revision that says so; see node/results/withdrawal_book.py.
withdrawals = sa.Table(
    "withdrawals",
    metadata,
    sa.Column("case_id", sa.Text, sa.ForeignKey("cases.id"), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("series_instance_uid", sa.Text, nullable=False, index=True),  # of the slide that the case had
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)

# What DICOMweb searches: one row for each kept instance, received or made; see node/catalogue.py.
dicom_index = sa.Table(
    "dicom_index",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("sop_instance_uid", sa.Text, nullable=False, unique=True),
    sa.Column("series_instance_uid", sa.Text, nullable=False, index=True),
    sa.Column("study_instance_uid", sa.Text, nullable=False, index=True),
    sa.Column("sop_class_uid", sa.Text, nullable=False),
    _text("modality"),
    _text("transfer_syntax_uid"),
    sa.Column("number_of_frames", sa.Integer, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("added_at", UtcDateTime, nullable=False),
    _text("accession_number", index=True),
    _text("patient_id", index=True),
    _text("patient_name"),  # every writing of it, in lower case
    _text("study_date"),
)

# Who did what; see node/audit.py.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", UtcDateTime, nullable=False, index=True),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    _text("subject"),
    _text("detail"),
)

# Who may use the pages; see node/people/accounts.py.
accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("full_name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),  # viewer, reviewer, admin
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False, default=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("password_changed_at", UtcDateTime, nullable=False),
)

# Who is signed in; the token itself is only in the browser. See node/people/sessions.py.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("token_hash", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, sa.ForeignKey("accounts.name", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("opened_at", UtcDateTime, nullable=False),
    sa.Column("used_at", UtcDateTime, nullable=False),
)

# Failed sign-ins in a row, by account and by address.
sign_in_failures = sa.Table(
    "sign_in_failures",
    metadata,
    sa.Column("origin", sa.Text, primary_key=True),  # "account NAME" or "address ADDRESS"
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
)
