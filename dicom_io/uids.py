"""Unique identifiers (PS3.5 section 9 and Annex B): checked where they come in, derived where they go out."""

import re
import uuid

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_NAMESPACE = uuid.UUID("0e9bd6f7-7a2e-5b0c-8f0e-6c2d5f4a9b31")


def is_uid(text: str) -> bool:
    """Whether `text` is a UID: at most 64 characters, digits between single dots.

    Leading zeros in a component break PS3.5 9.1 but are sent by devices in the field, so they pass. What passes is
    safe as a file name.
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def derive_uid(*parts: str) -> str:
    """The UID that belongs to `parts`: the same parts give the same UID, anywhere and at any time.

    Parts are joined with their lengths, so `("ab", "c")` and `("a", "bc")` differ. The form is 2.25 followed by a
    UUID as a decimal number (PS3.5 B.2).
    """
    name = "".join(f"{len(part)}:{part}" for part in parts)
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"
