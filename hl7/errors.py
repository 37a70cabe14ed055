"""What can go wrong with HL7 v2.

Hl7Error
├── FramingError         bytes that are no MLLP frame
├── ParseError           a message that cannot be used; names the segment and field
├── NotAcknowledged      a receiver answered AE/AR/CE/CR, or not at all; `retryable` says whether to try again
"""


class Hl7Error(Exception):
    """Base of every error of this package."""


class FramingError(Hl7Error):
    """Bytes that are no MLLP frame (HL7 v2 Transport, MLLP release 1)."""


class ParseError(Hl7Error):
    """A message that cannot be used.

    Parameters
    ----------
    message : str
        What is wrong and the remedy, without patient data.
    code : int
        Table 0357 condition: 101 required field missing, 102 data type, 200 message type, 203 version...
    location : str
        ERR-2 of the field, such as ``PID^1^3``; empty when the message as a whole is meant.
    reject : bool
        True answers AR (wrong kind of message), False AE (wrong content).
    """

    def __init__(self, message: str, *, code: int, location: str = "", reject: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.location = location
        self.reject = reject


class NotAcknowledged(Hl7Error):
    """A receiver refused a message or did not answer.

    `may_have_it` is false when it surely has not taken the message: nothing was sent, or it said so.
    """

    def __init__(self, message: str, *, code: str = "", retryable: bool, may_have_it: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
        self.may_have_it = may_have_it
