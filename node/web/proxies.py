"""Requests that come through a reverse proxy: who asks, and by which address (RFC 7239, and X-Forwarded-*).

What these headers say is taken only from the proxies a site names; from anyone else they are ignored.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

_FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^;,\s"]*)')
_HOST = re.compile(r"[A-Za-z0-9.\-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class _Hop:
    """What one proxy said of the request it passed on; empty where it said nothing."""

    client: str = ""
    scheme: str = ""
    host: str = ""


def is_forwarded(headers: Headers) -> bool:
    """Whether a request says that it came through a proxy, trusted or not."""
    return any(name in headers for name in _FORWARDING)


class ProxiedRequests:
    """Gives the application the client's own address, scheme and host, where a trusted proxy tells them.

    Parameters
    ----------
    app : ASGIApp
    trusted : Sequence of str
        Addresses or networks of the proxies.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        self._app = app
        self._trusted = [ip_network(text, strict=False) for text in trusted]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["client"] and self._is_trusted(scope["client"][0]):
            scope = self._as_asked(scope)
        await self._app(scope, receive, send)

    def _as_asked(self, scope: Scope) -> Scope:
        """The request as the farthest trusted proxy received it."""
        hop, client = _Hop(), scope["client"][0]
        for nearer in reversed(_hops(Headers(scope=scope))):
            if not self._is_trusted(client):
                break
            hop = nearer
            client = nearer.client or client
        asked = {**scope, "client": (client, 0), "headers": list(scope["headers"])}
        if hop.scheme in {"http", "https"}:
            asked["scheme"] = hop.scheme
        if _HOST.fullmatch(hop.host):
            MutableHeaders(scope=asked)["host"] = hop.host
        return asked

    def _is_trusted(self, text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._trusted)


def _hops(headers: Headers) -> list[_Hop]:
    """The proxies a request passed, farthest first."""
    if forwarded := ",".join(headers.getlist("forwarded")):
        return [_hop(dict(_PAIR.findall(element))) for element in forwarded.split(",")]
    clients = _list(headers, "x-forwarded-for") or [""]
    scheme, host = (_list(headers, f"x-forwarded-{name}") for name in ("proto", "host"))
    # One proxy sets these two and the ones behind it pass them on.
    said = _Hop(scheme=scheme[-1].lower() if scheme else "", host=host[-1] if host else "")
    return [_Hop(client=_address(client), scheme=said.scheme, host=said.host) for client in clients]


def _hop(pairs: dict[str, str]) -> _Hop:
    said = {name.lower(): value.strip('"') for name, value in pairs.items()}
    return _Hop(client=_address(said.get("for", "")), scheme=said.get("proto", "").lower(), host=said.get("host", ""))


def _list(headers: Headers, name: str) -> list[str]:
    return [part.strip() for part in ",".join(headers.getlist(name)).split(",") if part.strip()]


def _address(node: str) -> str:
    """The address of a node without its port: ``192.0.2.1:80``, ``[2001:db8::1]:80``."""
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node
