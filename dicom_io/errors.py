"""What can go wrong with DICOM.

DicomError
├── InstanceRejected     a received object cannot be kept; carries the DIMSE status to answer
├── SlideError           a set of instances is not a slide that can be read
└── PeerError            another DICOM node refused or could not be reached; `retryable` says whether to try again
"""


class DicomError(Exception):
    """Base of every error of this package."""


class InstanceRejected(DicomError):
    """A received object cannot be kept.

    Parameters
    ----------
    status : int
        DIMSE status to answer (PS3.4 Annex B.2.3): 0xA700 out of resources, 0xA900 data set does not match
        SOP class, 0xC000 cannot understand.
    message : str
        What is wrong, naming the attribute and the remedy, without patient data.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class SlideError(DicomError):
    """A set of instances is not a slide that can be read; the message names attribute, file and remedy."""


class PeerError(DicomError):
    """Another DICOM node refused an object or could not be reached."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable
