"""Passwords: Argon2id with the parameters of RFC 9106 (as argon2-cffi sets them), compared in the same time always."""

import hashlib
import hmac
import secrets
import unicodedata
from collections import OrderedDict
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from node.errors import AccountError

SHORTEST, LONGEST = 12, 256
_REMEMBERED = 256


class Passwords:
    """Hashes passwords and tells whether one is right; a right one is known again quickly, by this process only."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._secret = secrets.token_bytes(32)
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def hash(self, password: str) -> str:
        """What is kept of a password.

        Raises
        ------
        AccountError
            It is too short or too long.

        """
        if not SHORTEST <= len(_normal(password)) <= LONGEST:
            msg = f"password: it must have {SHORTEST} to {LONGEST} characters; a sentence is good"
            raise AccountError(msg)
        return self._hasher.hash(_normal(password))

    def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one of the hash; without a hash it is not, after as long a time."""
        try:
            self._hasher.verify(password_hash or self._nobodys, _normal(password))
        except VerificationError:
            return False
        if password_hash is None:
            return False
        self._seen[self._digest(password_hash, password)] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True

    def seen(self, password_hash: str, password: str) -> bool:
        """Whether this pair has matched before: HTTP Basic repeats itself with each request."""
        return self._digest(password_hash, password) in self._seen

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash(secrets.token_hex())

    def _digest(self, password_hash: str, password: str) -> bytes:
        return hmac.new(self._secret, f"{password_hash}\n{_normal(password)}".encode(), hashlib.sha256).digest()


def _normal(password: str) -> str:
    """One form of what keyboards type in several (NIST SP 800-63B 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
