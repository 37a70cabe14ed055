"""One table: error → DIMSE status, HL7 acknowledgement, HTTP code, retry."""

import errno

import pytest
from sqlalchemy.exc import DataError, OperationalError

from dicom_io.errors import InstanceRejected, PeerError, SlideError
from hl7.errors import NotAcknowledged, ParseError
from node.errors import TABLE, SignInRefused, SlowDown, UnknownCase, WrongState, answer, dimse_status
from pdf.errors import FontError
from pipeline.errors import NoCountableRegion, OutOfMemory, WeightsError


@pytest.mark.parametrize(
    ("error", "dimse", "ack", "http", "retry"),
    [
        (InstanceRejected(0xA900, "x"), 0xA900, "AE", 409, False),
        (InstanceRejected(0xA700, "x"), 0xA700, "AR", 507, True),
        (SlideError("x"), 0xA900, "AE", 422, False),
        (PeerError("x", retryable=True), 0xA700, "AR", 502, True),
        (PeerError("x", retryable=False), 0xA700, "AR", 502, False),
        (NotAcknowledged("x", retryable=False), 0xA700, "AR", 502, False),
        (ParseError("x", code=101), 0xC000, "AE", 422, False),
        (ParseError("x", code=200, reject=True), 0xC000, "AR", 422, False),
        (FontError("x"), 0x0110, "AR", 500, False),
        (NoCountableRegion("x"), 0xC000, "AE", 422, False),
        (OutOfMemory("x"), 0xA700, "AR", 503, True),
        (WeightsError("x"), 0xA700, "AR", 503, False),
        (UnknownCase("x"), 0x0112, "AE", 404, False),
        (WrongState("x"), 0x0110, "AE", 409, False),
        (SignInRefused("x"), 0x0124, "AE", 401, False),
        (SlowDown(8), 0x0124, "AR", 429, True),
        (OperationalError("x", {}, Exception()), 0xA700, "AR", 503, True),
        (DataError("x", {}, Exception()), 0xC000, "AE", 422, False),
        (OSError(errno.ENOSPC, "full"), 0xA700, "AR", 507, True),
        (KeyError("x"), 0x0110, "AR", 500, True),
    ],
)
def test_answers(error: Exception, dimse: int, ack: str, http: int, retry: bool) -> None:
    found = answer(error)
    assert (found.dimse, found.ack, found.http, found.retry) == (dimse, ack, http, retry)
    assert dimse_status(error) == dimse


def test_condition_of_a_message_is_its_own() -> None:
    assert answer(ParseError("x", code=103)).condition == 103


def test_no_row_hides_a_later_one() -> None:
    kinds = [kind for kind, _ in TABLE]
    for place, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:place]), kind
