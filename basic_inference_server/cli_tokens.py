"""The command line's part for tokens: `python -m basic_inference_server tokens create`.

Works on the file, whether or not a gateway runs: a running one sees the change at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from basic_inference_server.core.clock import wall_s
from basic_inference_server.core.config_file import ConfigError, read_config_file
from basic_inference_server.core.logger import Logger
from basic_inference_server.core.secrets_folder import OWN_FOLDER, secrets_folder
from basic_inference_server.core.tokens import (
    SCOPE_FORMS,
    Token,
    checked_name,
    checked_scopes,
    duration_s,
    instant_text,
    scoped_signature,
)
from basic_inference_server.core.tokens_file import TOKENS_FILE, TokensFileError, TokenStore

EXIT_FAILED = 1
EXIT_USAGE = 2
DEFAULT_LIFETIME = "90d"
T = TypeVar("T")
COLUMNS = ("ID", "NAME", "SCOPES", "CREATED", "EXPIRES")


def add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say where a gateway keeps its things."""
    parser.add_argument("-b", "--base_folder", "--base-folder", default=".",
                        help="folder with configuration and endpoints")  # fmt: skip
    parser.add_argument("-a", "--app_folder", "--app-folder", default="_cache",
                        help="folder under it for what must outlive a restart")  # fmt: skip


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the configuration."""
    parser.add_argument("--config", default="config_gateway.txt", help="configuration file")


def add_tokens_commands(
    parser: argparse.ArgumentParser,
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """Add `create`, `list` and `revoke`; return the action that has them."""
    commands = parser.add_subparsers(dest="tokens_command", required=True)
    create = commands.add_parser("create", help="make a token and print it, this one time")
    add_folder_arguments(create)
    add_config_argument(create)
    create.add_argument("--name", required=True, help="whose it is, for people")
    create.add_argument("--scope", action="append", required=True, metavar="SCOPE", dest="scopes",
                        help=f"{SCOPE_FORMS}; may be repeated")  # fmt: skip
    create.add_argument("--expires", default=DEFAULT_LIFETIME, metavar="TIME",
                        help="how long it is valid, such as 30d, 12h, 90m, or never")  # fmt: skip
    create.set_defaults(action=create_token)
    listing = commands.add_parser("list", help="show what tokens there are, not the tokens")
    add_folder_arguments(listing)
    listing.set_defaults(action=list_tokens)
    revoke = commands.add_parser("revoke", help="make tokens invalid at once")
    add_folder_arguments(revoke)
    revoke.add_argument("ids", nargs="+", metavar="ID", help="id of a token, from list or create")
    revoke.set_defaults(action=revoke_tokens)
    return commands


def create_token(arguments: argparse.Namespace) -> None:
    """Print a new token alone on standard output, and what it is on standard error."""
    name = _checked("--name", checked_name, arguments.name)
    scopes = _checked("--scope", checked_scopes, arguments.scopes)
    lifetime_s = _checked("--expires", duration_s, arguments.expires)
    store = _store(arguments)
    _make_folder(store.path.parent)
    try:
        token, secret = store.create(name, scopes, lifetime_s)
    except (ValueError, TokensFileError) as error:
        _fail(str(error))
    for signature in _unknown_endpoints(arguments, scopes):
        _say(f"Warning: the configuration has no endpoint {signature!r}.")
    until = instant_text(token.expires_s)
    _say(f"Token {token.id} ({token.name}): {', '.join(token.scopes)}; "
         f"{f'expires {until}' if until else 'never expires'}. "
         "It is shown only now.")  # fmt: skip
    print(secret)


def _checked(option: str, check: Callable[[Any], T], value: Any) -> T:
    try:
        return check(value)
    except ValueError as error:
        _fail(f"{option}: {error}.", EXIT_USAGE)


def _make_folder(folder: Path) -> None:
    """Make the folder that the first start would make, for the same user."""
    if folder.is_dir():
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            owner = folder.parent.stat()
            os.chown(folder, owner.st_uid, owner.st_gid)
    except OSError as error:
        _fail(f"Cannot make the folder {folder}: {error.strerror}.")


def list_tokens(arguments: argparse.Namespace) -> None:
    """Print a table of the tokens: neither they nor their digests."""
    try:
        tokens = _store(arguments).tokens()
    except TokensFileError as error:
        _fail(str(error))
    rows = [COLUMNS, *(_row(token) for token in tokens)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _row(token: Token) -> tuple[str, ...]:
    expires = instant_text(token.expires_s) or "never"
    if token.has_expired(wall_s()):
        expires += " (expired)"
    created = instant_text(token.created_s) or ""
    return (token.id, token.name, ",".join(token.scopes), created, expires)


def revoke_tokens(arguments: argparse.Namespace) -> None:
    """Revoke tokens by their ids; those that are there are revoked even if another is not."""
    store = _store(arguments)
    missing = []
    for identity in arguments.ids:
        try:
            token = store.revoke(identity)
        except TokensFileError as error:
            _fail(str(error))
        if token is None:
            missing.append(identity)
        else:
            _say(f"Token {token.id} ({token.name}) is revoked.")
    if missing:
        _fail(f"There is no token {', '.join(map(repr, missing))}; `tokens list` has their ids.")


def _store(arguments: argparse.Namespace) -> TokenStore:
    """Return the tokens of the gateway; root works on those of the gateway's user."""
    base_folder = Path(arguments.base_folder).resolve()
    if not base_folder.is_dir():
        _fail(f"There is no folder {base_folder}.")
    app_folder = (base_folder / arguments.app_folder).resolve()
    folder, owner = secrets_folder(app_folder), os.geteuid()
    if owner == 0:
        own_folder = app_folder / OWN_FOLDER
        folder = own_folder if own_folder.is_dir() else app_folder
        owner = (folder if folder.is_dir() else base_folder).lstat().st_uid
    return TokenStore(folder / TOKENS_FILE, owner=owner)


def _unknown_endpoints(arguments: argparse.Namespace, scopes: tuple[str, ...]) -> list[str]:
    """Return the endpoints of scopes that the configuration does not have, if it can be read."""
    path = Logger(base_folder=arguments.base_folder).config_path(arguments.config)
    try:
        endpoints = read_config_file(path).get("CONFIG_ENDPOINTS")
    except ConfigError:
        return []
    if not isinstance(endpoints, dict):
        return []
    named = [signature for signature in map(scoped_signature, scopes) if signature is not None]
    return [signature for signature in named if signature not in endpoints]


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _fail(text: str, code: int = EXIT_FAILED) -> NoReturn:
    _say(text)
    raise SystemExit(code)
