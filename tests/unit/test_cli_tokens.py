"""Unit tests of the command line's part for tokens."""

from __future__ import annotations

import json
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.cli import main
from basic_inference_server.core.tokens import ADMIN, digest_of, find
from basic_inference_server.core.tokens_file import TOKENS_FILE, TokenStore
from tests.support.manual_clock import ManualClock
from tests.support.users import ANOTHER_USER, needs_root

NOW_S = 1_800_000_000.0


class CommandLine:
    """Runs commands in a folder, as a shell would see them."""

    def __init__(self, folder: Path, captured: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.store = TokenStore(folder / "_cache" / TOKENS_FILE)
        self._captured = captured

    def run(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, standard output and standard error."""
        code = 0
        try:
            main(["tokens", command, "-b", str(self.folder), *arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        output, errors = self._captured.readouterr()
        return code, output, errors

    def create(self, *arguments: str, name: str = "test", scope: str = "run:demo") -> str:
        """Return a new token."""
        code, output, errors = self.run("create", "--name", name, "--scope", scope, *arguments)
        assert 0 == code, errors
        return output.removesuffix("\n")


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    store = partial(TokenStore, now_s=ManualClock(NOW_S))
    monkeypatch.setattr("basic_inference_server.cli_tokens.TokenStore", store)
    return CommandLine(tmp_path, capsys)


def test_create_prints_the_token_alone(shell: CommandLine) -> None:
    """So that a script can keep it in a variable; what it is goes to standard error."""
    code, output, errors = shell.run(
        "create", "--name", "the shop", "--scope", "run:demo", "--scope", "admin"
    )
    assert 0 == code
    assert re.fullmatch(r"bis_[A-Za-z0-9_-]{43}\n", output)
    (token,) = shell.store.tokens()
    assert token == find([token], digest_of(output.strip().encode()))
    assert ("the shop", ("run:demo", "admin")) == (token.name, token.scopes)
    assert f"Token {token.id} (the shop): run:demo, admin; expires " in errors
    assert output.strip() not in errors


@pytest.mark.parametrize(
    ("arguments", "lifetime_s"),
    [((), 90 * 86400), (("--expires", "12h"), 43200), (("--expires", "never"), None)],
)
def test_token_is_valid_as_long_as_is_said(
    shell: CommandLine, arguments: tuple[str, ...], lifetime_s: int | None
) -> None:
    """Ninety days when nothing is said."""
    shell.create(*arguments)
    (token,) = shell.store.tokens()
    lifetime = None if token.expires_s is None else token.expires_s - token.created_s
    assert lifetime_s == lifetime


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--name", "a", "--scope", "root"), "--scope: a scope is admin, run:* or"),
        (("--name", "\x1b[2J", "--scope", "admin"), "--name: NAME must be a text"),
        (("--name", "a", "--scope", "admin", "--expires", "2w"), "--expires: expected a number"),
        (("--name", "a"), "the following arguments are required: --scope"),
        (("--scope", "admin"), "the following arguments are required: --name"),
    ],
)
def test_wrong_argument_is_said_and_nothing_is_made(
    shell: CommandLine, arguments: tuple[str, ...], problem: str
) -> None:
    """Exit code 2, as for any wrong argument."""
    code, output, errors = shell.run("create", *arguments)
    assert (2, "") == (code, output)
    assert problem in errors
    assert [] == list(shell.folder.iterdir())


def test_endpoint_that_the_configuration_does_not_have_is_warned_of(shell: CommandLine) -> None:
    """Only warned of: the configuration may be elsewhere, or change."""
    configuration: dict[str, Any] = {"CONFIG_ENDPOINTS": {"demo": {}}}
    (shell.folder / "config_gateway.txt").write_text(json.dumps(configuration))
    scopes = ["--scope", "run:demo", "--scope", "run:dmeo", "--scope", "run:*", "--scope", ADMIN]
    code, output, errors = shell.run("create", "--name", "test", *scopes)
    assert 0 == code
    assert ["Warning: the configuration has no endpoint 'dmeo'."] == errors.splitlines()[:-1]
    assert output.startswith("bis_")


@pytest.mark.parametrize("text", ["{", "[]", '{"CONFIG_ENDPOINTS": 5}', "{}"])
def test_configuration_that_cannot_be_read_hinders_nothing(shell: CommandLine, text: str) -> None:
    """Tokens can be made before there is one."""
    (shell.folder / "config_gateway.txt").write_text(text)
    assert shell.create().startswith("bis_")


def test_list_shows_what_there_is_but_no_token(
    shell: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In columns; expired ones are marked."""
    secrets = [
        shell.create("--expires", "1h", name="short"),
        shell.create("--expires", "never", name="for ever", scope=ADMIN),
    ]
    ids = [token.id for token in shell.store.tokens()]
    monkeypatch.setattr("basic_inference_server.cli_tokens.wall_s", lambda: NOW_S + 3600)
    code, output, _ = shell.run("list")
    created = "2027-01-15T08:00:00Z"
    assert (0, [
        "ID        NAME      SCOPES    CREATED               EXPIRES",
        f"{ids[0]}  short     run:demo  {created}  2027-01-15T09:00:00Z (expired)",
        f"{ids[1]}  for ever  admin     {created}  never",
    ]) == (code, output.splitlines())  # fmt: skip
    digests = [digest_of(secret.encode()).hex() for secret in secrets]
    assert not [one for one in secrets + digests if one in output]


def test_list_of_nothing_is_empty(shell: CommandLine) -> None:
    """Looking makes no files."""
    assert (0, "ID  NAME  SCOPES  CREATED  EXPIRES\n", "") == shell.run("list")
    assert [] == list(shell.folder.iterdir())


def test_revoke_takes_several_and_says_which_are_not_there(shell: CommandLine) -> None:
    """Those that are there are revoked all the same."""
    for name in ("a", "b", "c"):
        shell.create(name=name)
    first, second, third = shell.store.tokens()
    code, output, errors = shell.run("revoke", first.id, "00000000", third.id)
    assert (1, "") == (code, output)
    assert [
        f"Token {first.id} (a) is revoked.", f"Token {third.id} (c) is revoked.",
        "There is no token '00000000'; `tokens list` has their ids.",
    ] == errors.splitlines()  # fmt: skip
    assert (second,) == shell.store.tokens()
    assert 0 == shell.run("revoke", second.id)[0]


@pytest.mark.parametrize("command", [["create", "--name", "a", "--scope", "admin"], ["list"],
                                     ["revoke", "00000000"]])  # fmt: skip
def test_damaged_file_is_said(shell: CommandLine, command: list[str]) -> None:
    """With what to do, and left as it is."""
    shell.store.path.parent.mkdir()
    shell.store.path.write_text("{")
    shell.store.path.chmod(0o600)
    code, output, errors = shell.run(*command)
    assert (1, "") == (code, output)
    assert "put a good copy back, or delete it" in errors
    assert "{" == shell.store.path.read_text()


@pytest.mark.parametrize("command", [["create", "--name", "a", "--scope", "admin"], ["list"],
                                     ["revoke", "00000000"]])  # fmt: skip
def test_folder_that_is_not_there_is_no_place_for_tokens(
    shell: CommandLine, command: list[str]
) -> None:
    """A misspelt folder must not get tokens that no gateway reads."""
    code, _, errors = shell.run(*command, "-b", str(shell.folder / "nowhere"))
    assert (1, f"There is no folder {shell.folder / 'nowhere'}.\n") == (code, errors)
    assert [] == list(shell.folder.iterdir())


def test_folder_that_cannot_be_made_is_said(shell: CommandLine) -> None:
    """A file of its name is in the way."""
    (shell.folder / "_cache").write_text("")
    code, output, errors = shell.run("create", "--name", "a", "--scope", "admin")
    assert (1, "") == (code, output)
    assert errors.startswith(f"Cannot make the folder {shell.folder / '_cache'}: ")


def test_other_app_folder_is_used_as_by_run(shell: CommandLine) -> None:
    """`-a` under the base folder."""
    shell.create("-a", "state")
    assert ["tokens.json", "tokens.lock"] == sorted(
        path.name for path in (shell.folder / "state").iterdir()
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_folder_that_root_makes_belongs_to_the_owner_of_the_base_folder(
    shell: CommandLine,
) -> None:
    """The first start by the gateway's user would fail otherwise."""
    os.chown(shell.folder, 12345, 23456)
    shell.create()
    for path in (shell.store.path.parent, shell.store.path):
        assert (12345, 23456) == (path.stat().st_uid, path.stat().st_gid)


@needs_root
def test_root_finds_the_folder_that_the_gateway_has_made_for_secrets(shell: CommandLine) -> None:
    """On a volume that is not the gateway's own; what root makes there is the gateway's."""
    volume = shell.folder / "_cache"
    (volume / "private").mkdir(parents=True)
    (volume / "private").chmod(0o700)
    os.chown(volume / "private", ANOTHER_USER, 0)
    shell.create()
    assert ["private"] == [path.name for path in volume.iterdir()]
    assert ANOTHER_USER == (volume / "private" / "tokens.json").stat().st_uid
