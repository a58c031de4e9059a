"""Routes that create, list and revoke tokens."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from basic_inference_server.core.clock import wall_s
from basic_inference_server.core.errors import BadInput, NotFound, StorageUnavailable
from basic_inference_server.core.tokens import (
    DEFAULT_LIFETIME_S,
    MAX_LIFETIME_S,
    NEVER,
    Token,
    checked_name,
    checked_scopes,
    instant_s,
    instant_text,
    scoped_signature,
)
from basic_inference_server.core.tokens_file import TokensFileError
from basic_inference_server.gateway.control_plane.fields import request_fields
from basic_inference_server.gateway.control_plane.plumbing import (
    control_plane,
    respond,
    supervisor,
    token_holder_only,
)

token_administration = Blueprint("token_administration", __name__)


@token_administration.route("/create_token", methods=["POST"])
@token_holder_only
def create_token() -> Response:
    """Make a token and show it, this one time."""
    fields = request_fields()
    plane = control_plane()
    try:
        name, scopes = checked_name(fields.get("NAME")), checked_scopes(fields.get("SCOPES"))
        lifetime_s, expires_s = _expiry(fields)
        _require_endpoints(scopes)
        token, secret = plane.tokens.create(name, scopes, lifetime_s, expires_s)
    except ValueError as error:
        raise BadInput(f"{error}.") from error
    except TokensFileError as error:
        raise _file_problem(error) from error
    plane.log.info(
        "token_created", id=token.id, name=token.name, scopes=list(token.scopes),
        expires=instant_text(token.expires_s), client=request.remote_addr,
    )  # fmt: skip
    answer = respond({"TOKEN": secret, **_shown(token)})
    answer.headers["Cache-Control"] = "no-store"
    return answer


@token_administration.route("/list_tokens", methods=["GET", "POST"])
@token_holder_only
def list_tokens() -> Response:
    """Show what tokens there are; neither they nor their digests."""
    now_s = wall_s()
    try:
        tokens = control_plane().tokens.tokens()
    except TokensFileError as error:
        raise _file_problem(error) from error
    return respond(
        {"TOKENS": [{**_shown(token), "EXPIRED": token.has_expired(now_s)} for token in tokens]}
    )


@token_administration.route("/revoke_token", methods=["POST"])
@token_holder_only
def revoke_token() -> Response:
    """Make a token invalid, in every gateway process and from this moment on."""
    identity = request_fields().get("ID")
    if not isinstance(identity, str):
        raise BadInput("ID must be the id of a token; /list_tokens has them.")
    plane = control_plane()
    try:
        token = plane.tokens.revoke(identity)
    except TokensFileError as error:
        raise _file_problem(error) from error
    if token is None:
        raise NotFound(f"There is no token {identity[:32]!r}; /list_tokens has their ids.")
    plane.log.info("token_revoked", id=token.id, name=token.name, client=request.remote_addr)
    return respond({"REVOKED": _shown(token)})


def _shown(token: Token) -> dict[str, Any]:
    return {
        "ID": token.id,
        "NAME": token.name,
        "SCOPES": list(token.scopes),
        "CREATED": instant_text(token.created_s),
        "EXPIRES": instant_text(token.expires_s),
    }


def _expiry(fields: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return a lifetime or an instant in seconds; neither means never.

    Raises:
        ValueError: both are given, or one is wrong.
    """
    if "EXPIRES_IN_S" in fields and "EXPIRES" in fields:
        raise ValueError("send EXPIRES_IN_S or EXPIRES, not both")
    if "EXPIRES" in fields:
        expires = fields["EXPIRES"]
        if expires is None or expires == NEVER:
            return None, None
        try:
            return None, instant_s(expires)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                'EXPIRES must be a time such as "2027-01-31T00:00:00Z", or null for never'
            ) from error
    lifetime = fields.get("EXPIRES_IN_S", DEFAULT_LIFETIME_S)
    is_number = isinstance(lifetime, (int, float)) and not isinstance(lifetime, bool)
    if not is_number or not 1 <= lifetime <= MAX_LIFETIME_S:
        raise ValueError(f"EXPIRES_IN_S must be a number of seconds from 1 to {MAX_LIFETIME_S}")
    return int(lifetime), None


def _require_endpoints(scopes: tuple[str, ...]) -> None:
    """Refuse a scope for an endpoint that the configuration does not have.

    Raises:
        BadInput: there is one; it would look like a right and be none.
    """
    wanted = [name for name in map(scoped_signature, scopes) if name is not None]
    if not wanted:
        return
    servers = supervisor().ask("list_servers", is_detailed=False)["SERVERS"]
    available = [name for name, server in servers.items() if server["port"] is not None]
    missing = [name for name in wanted if name not in available]
    if missing:
        raise BadInput(f"There is no endpoint {missing[0]!r}.", available=available)


def _file_problem(error: TokensFileError) -> StorageUnavailable:
    """Tell the administrator what is wrong with the file; callers without the right never ask."""
    return StorageUnavailable(str(error))
