"""Who asks: a session's cookie, HTTP Basic for DICOMweb clients, or the demo reviewer; and what a role may do."""

import base64
import binascii
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from node.errors import SignInRefused
from node.people.accounts import DEMO_REVIEWER, Person, Role
from node.settings import is_loopback
from node.web.problems import RequestError
from node.web.proxies import is_forwarded
from node.web.sources import Sources

COOKIE = "marrow_session"
UNATTENDED = "X-Unattended"  # a page sets it on what it asks by itself, which keeps no session from going idle
_BASIC = {"WWW-Authenticate": 'Basic realm="Marrow Node", charset="UTF-8"'}


def find_person(request: Request, sources: Sources) -> Person | None:
    """Who is signed in, None when nobody is."""
    token = request.cookies.get(COOKIE)
    person = sources.sessions.person(token, used=not is_unattended(request)) if token else None
    if person is None and sources.settings.demo_reviewer and _is_local(request):
        return DEMO_REVIEWER
    return person


def is_unattended(request: Request) -> bool:
    """Whether a page asks by itself, and nobody did anything."""
    return UNATTENDED in request.headers or request.headers.get("accept") == "text/event-stream"


def _at_least(role: Role) -> Callable[[Person | None], Person]:
    def require(person: Annotated[Person | None, Depends(find_person)]) -> Person:
        if person is None:
            raise RequestError(401, "nobody is signed in", remedy="sign in")
        if not person.role.includes(role):
            remedy = f"ask for the role {role} (`marrow-node user`)"
            raise RequestError(403, f"the role {person.role} may not do this", remedy=remedy)
        return person

    return require


find_viewer = _at_least(Role.VIEWER)  # every role; `create_web` asks it for all of /api
Viewer = Annotated[Person, Depends(find_viewer)]
Reviewer = Annotated[Person, Depends(_at_least(Role.REVIEWER))]


def may_use_dicomweb(
    request: Request, sources: Sources, person: Annotated[Person | None, Depends(find_person)]
) -> None:
    """Let in a person, an account by HTTP Basic (RFC 7617), or an address of `web.dicomweb_addresses`.

    `request.state.reader` is then the person, None for an address that nobody signed in from.

    Raises
    ------
    RequestError
        401. A page is not challenged, for its browser would ask for a password by itself.

    """
    request.state.reader = person
    if person is not None or _is_trusted(request, sources.settings.dicomweb_addresses):
        return
    challenge = {} if COOKIE in request.cookies else _BASIC
    credentials = _basic_credentials(request)
    if credentials is None:
        remedy = "sign in, send HTTP Basic of an account, or name this address in web.dicomweb_addresses"
        raise RequestError(401, "nobody is signed in", remedy=remedy, headers=challenge)
    try:
        request.state.reader = sources.sign_in.check(*credentials, address_of(request))
    except SignInRefused as exc:
        raise RequestError(401, str(exc), field="Authorization", remedy="correct it", headers=challenge) from exc


def address_of(request: Request) -> str:
    """Where a request came from; behind a proxy of `web.trusted_proxies`, what the proxy says."""
    return request.client.host if request.client else ""


def _basic_credentials(request: Request) -> tuple[str, str] | None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None


def _is_trusted(request: Request, networks: tuple[str, ...]) -> bool:
    address = _ip(address_of(request))
    if address is None or not any(address in ip_network(network, strict=False) for network in networks):
        return False
    return not address.is_loopback or _is_local(request)


def _is_local(request: Request) -> bool:
    """Whether the client is on this machine and knows the node as this machine.

    A page from elsewhere whose name was made to point here (DNS rebinding) comes from this machine too, but says its
    own name; and what a proxy on this machine passes on comes from anywhere.
    """
    if is_forwarded(request.headers):
        return False
    address = _ip(address_of(request))
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    return address is not None and address.is_loopback and is_loopback(host)


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
