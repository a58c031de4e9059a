"""When a call without a token is one of this machine's own user, and of no browser or proxy.

Loopback alone proves nothing: a proxy on the same machine, a web page in a browser on it and other
users' programs also come from 127.0.0.1.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

FORWARDING_HEADERS: Final = frozenset({
    "HTTP_FORWARDED", "HTTP_FORWARDED_FOR", "HTTP_VIA", "HTTP_X_REAL_IP", "HTTP_CLIENT_IP",
    "HTTP_X_CLIENT_IP", "HTTP_X_CLUSTER_CLIENT_IP", "HTTP_X_ORIGINAL_FORWARDED_FOR",
    "HTTP_X_ORIGINAL_HOST", "HTTP_X_PROXYUSER_IP", "HTTP_X_ENVOY_EXTERNAL_ADDRESS",
    "HTTP_CF_CONNECTING_IP", "HTTP_TRUE_CLIENT_IP", "HTTP_FASTLY_CLIENT_IP", "HTTP_CDN_LOOP",
})  # fmt: skip
FORWARDING_PREFIX: Final = "HTTP_X_FORWARDED"
# A browser says whose page a request comes from; `none` is the user, in the address bar.
OWN_SITES: Final = frozenset({"none", "same-origin"})
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"  # what `curl -d` says of JSON


def is_loopback(address: str) -> bool:
    """Say whether an address is this machine's own."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback


def is_local_name(host: str) -> bool:
    """Say whether a `Host` value, port included or not, names this machine."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


def forwarding_header(environ: Mapping[str, Any]) -> str | None:
    """Return the header with which a proxy says that it has forwarded the call, if there is one."""
    for name in environ:
        if name in FORWARDING_HEADERS or name.startswith(FORWARDING_PREFIX):
            return name.removeprefix("HTTP_").replace("_", "-").title()
    return None


def objection(environ: Mapping[str, Any], *, changes: bool) -> str | None:
    """Return why a call from loopback is not trusted without a token; `None` when it is.

    Args:
        environ: the call, as WSGI has it.
        changes: whether it wants to change something, which a link must not be able to do.
    """
    header = forwarding_header(environ)
    if header is not None:
        return f"The call was forwarded ({header}); administration needs a token."
    host = environ.get("HTTP_HOST", "")
    if not is_local_name(host):
        return "Host does not name this machine; administration needs a token."
    for name in ("Origin", "Referer"):
        page = environ.get(f"HTTP_{name.upper()}")
        if page is not None and _host_of(page) != host.lower():
            return f"{name} is another site; administration needs a token."
    if environ.get("HTTP_SEC_FETCH_SITE", "none").lower() not in OWN_SITES:
        return "Sec-Fetch-Site is another site; administration needs a token."
    if changes and not _has_json_object(environ):
        return (
            "Without a token this has to be a POST with a JSON object, sent as application/json "
            "or with curl -d."
        )
    if not environ["bis.peer"].is_ours():
        return (
            "The call is not known to come from a program of the user that runs the gateway; "
            "make it as that user, or send a token: Authorization: Bearer <token>."
        )
    return None


def _host_of(page: str) -> str | None:
    """Return host and port of a URL; `None` when there is none, as in `null`."""
    try:
        return urlsplit(page).netloc.lower() or None
    except ValueError:
        return None


def _has_json_object(environ: Mapping[str, Any]) -> bool:
    """Say whether the body is meant as JSON. What the reader of the fields refuses, it refuses."""
    if environ.get("REQUEST_METHOD") != "POST":
        return False
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type != FORM:
        return bool(media_type == JSON)
    body = environ["wsgi.input"]
    first = body.read(1)
    body.seek(0)
    return bool(first == b"{")
