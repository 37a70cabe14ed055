"""What can go wrong in the node, and the one table of what each error is answered with.

NodeError
├── SettingsError        a key, a file or an environment variable of the configuration cannot be used
├── UnknownCase          there is no such case
├── WrongState           the case is in a state that does not permit this
├── NoAnalysis           the case has no counted cells
├── ReviewRefused        a change or a signature that cannot be made as asked
├── ReviewConflict       somebody else was faster: cells, review or run have moved on
├── CaseCancelled        the case was cancelled, or superseded by a later run, while it ran
├── RepeatedCrash        the worker died again and again on the same slide
├── AccountError         an account cannot be made or changed so
├── UnknownAccount       there is no such account
├── SignInRefused        name and password are not those of an account
└── SlowDown             too many sign-ins failed (wait_s)
"""

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import DataError, DBAPIError

from dicom_io.errors import DicomError, InstanceRejected, PeerError, SlideError
from hl7.errors import FramingError, NotAcknowledged, ParseError
from pdf.errors import PdfError
from pipeline.errors import ImageError, NoCountableRegion, OutOfMemory, TooFewCells, WeightsError

if TYPE_CHECKING:
    from node.review.marking import Change


class NodeError(Exception):
    """Base of every error of this package."""


class SettingsError(NodeError):
    """A key, a file or an environment variable of the configuration cannot be used; the message has the remedy."""


class UnknownCase(NodeError):
    """There is no such case."""


class WrongState(NodeError):
    """The case is in a state that does not permit this."""


class NoAnalysis(NodeError):
    """The case has no counted cells."""


class ReviewRefused(NodeError):
    """A change of cells, or a signature, that cannot be made as it was asked for."""


class ReviewConflict(NodeError):
    """Cells, review or run have moved on since they were seen; `changes` are those that somebody else made."""

    def __init__(self, message: str, changes: "tuple[Change, ...]" = ()) -> None:
        super().__init__(message)
        self.changes = changes


class CaseCancelled(NodeError):
    """The case was cancelled, or superseded by a later run, while it ran."""


class RepeatedCrash(NodeError):
    """The worker died again and again on the same slide."""


class AccountError(NodeError):
    """An account cannot be made or changed so; the message has the remedy."""


class UnknownAccount(NodeError):
    """There is no such account."""


class SignInRefused(NodeError):
    """Name and password are not those of an account that may sign in."""


class SlowDown(NodeError):
    """Too many sign-ins failed; the next one is heard after `wait_s` seconds."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"too many sign-ins failed; try again in {wait_s} s")
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a peer is told, and whether trying again may help.

    Attributes
    ----------
    dimse : int
        Status of a C-STORE response (PS3.4 Annex B.2.3).
    ack : str
        HL7 MSA-1 in original mode (table 0008): AA, AE or AR.
    condition : int
        HL7 ERR-3 (table 0357).
    http : int
        HTTP status code.
    retry : bool
        True when the same input may succeed later.

    """

    dimse: int
    ack: str
    condition: int
    http: int
    retry: bool


_FULL = Answer(dimse=0xA700, ack="AR", condition=207, http=507, retry=True)
_BUSY = Answer(dimse=0xA700, ack="AR", condition=207, http=503, retry=True)
_INTERNAL = Answer(dimse=0x0110, ack="AR", condition=207, http=500, retry=True)
_CONTENT = Answer(dimse=0xC000, ack="AE", condition=207, http=422, retry=False)

# First match wins; an error without a row is internal.
TABLE: tuple[tuple[type[BaseException], Answer], ...] = (
    (InstanceRejected, Answer(dimse=0xC000, ack="AE", condition=207, http=409, retry=False)),
    (SlideError, Answer(dimse=0xA900, ack="AE", condition=207, http=422, retry=False)),
    (PeerError, Answer(dimse=0xA700, ack="AR", condition=207, http=502, retry=True)),
    (DicomError, Answer(dimse=0xC000, ack="AE", condition=207, http=422, retry=False)),
    (ParseError, Answer(dimse=0xC000, ack="AE", condition=207, http=422, retry=False)),
    (FramingError, Answer(dimse=0xC000, ack="AR", condition=207, http=400, retry=False)),
    (NotAcknowledged, Answer(dimse=0xA700, ack="AR", condition=207, http=502, retry=True)),
    (PdfError, Answer(dimse=0x0110, ack="AR", condition=207, http=500, retry=False)),
    (NoCountableRegion, _CONTENT),
    (TooFewCells, _CONTENT),
    (ImageError, _CONTENT),
    (WeightsError, Answer(dimse=0xA700, ack="AR", condition=207, http=503, retry=False)),
    (OutOfMemory, _BUSY),
    (MemoryError, _BUSY),
    (SettingsError, Answer(dimse=0x0110, ack="AR", condition=207, http=500, retry=False)),
    (UnknownCase, Answer(dimse=0x0112, ack="AE", condition=204, http=404, retry=False)),
    (WrongState, Answer(dimse=0x0110, ack="AE", condition=207, http=409, retry=False)),
    (NoAnalysis, Answer(dimse=0x0110, ack="AE", condition=207, http=404, retry=False)),
    (ReviewRefused, Answer(dimse=0x0110, ack="AE", condition=207, http=422, retry=False)),
    (ReviewConflict, Answer(dimse=0x0110, ack="AE", condition=207, http=409, retry=False)),
    (CaseCancelled, Answer(dimse=0x0110, ack="AE", condition=207, http=409, retry=False)),
    (RepeatedCrash, Answer(dimse=0x0110, ack="AE", condition=207, http=500, retry=False)),
    (AccountError, Answer(dimse=0x0110, ack="AE", condition=207, http=422, retry=False)),
    (UnknownAccount, Answer(dimse=0x0110, ack="AE", condition=204, http=404, retry=False)),
    (SignInRefused, Answer(dimse=0x0124, ack="AE", condition=207, http=401, retry=False)),
    (SlowDown, Answer(dimse=0x0124, ack="AR", condition=207, http=429, retry=True)),
    (DataError, _CONTENT),
    (DBAPIError, _BUSY),
    (TimeoutError, _BUSY),
)


def answer(error: BaseException) -> Answer:
    """What `error` is answered with; an error that says more of itself overrides its row."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _FULL
    if isinstance(error, InstanceRejected) and error.status == _FULL.dimse:
        return _FULL
    row = next((row for kind, row in TABLE if isinstance(error, kind)), _INTERNAL)
    dimse = error.status if isinstance(error, InstanceRejected) else row.dimse
    retry = error.retryable if isinstance(error, PeerError | NotAcknowledged) else row.retry
    ack, condition = row.ack, row.condition
    if isinstance(error, ParseError):
        ack, condition = "AR" if error.reject else "AE", error.code
    return Answer(dimse=dimse, ack=ack, condition=condition, http=row.http, retry=retry)


def dimse_status(error: Exception) -> int:
    """The status a C-STORE response carries for `error`."""
    return answer(error).dimse
