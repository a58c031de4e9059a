"""`tokens.json`, the single truth about tokens: read by every gateway process, written by few.

A reader looks at the file's status once for each check and reads the file again when it has
changed, so a revoked token is refused from that moment on and nobody has to be told. A writer, the
command line or a gateway process, holds a lock beside the file, reads it again and replaces it
whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from basic_inference_server.core.clock import monotonic_s, wall_s
from basic_inference_server.core.config_file import ConfigError, parse_config
from basic_inference_server.core.secrets_folder import SecretsError, check_file, check_folder
from basic_inference_server.core.tokens import MAX_TOKENS, Token, mint

TOKENS_FILE: Final = "tokens.json"
FORMAT: Final = 1
MAX_FILE_BYTES: Final = 8 * 1024 * 1024
LOCK_TIMEOUT_S: Final = 5.0
LOCK_POLL_S: Final = 0.01
MISSING: Final = (0, 0, 0, 0)
_OPEN_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW

Fingerprint = tuple[int, int, int, int]


class TokensFileError(SecretsError):
    """The tokens cannot be read or written; one sentence that says what to do."""


class TokenStore:
    """The tokens of one gateway folder. Usable from several threads and processes.

    Args:
        path: the file.
        now_s: the wall clock.
        owner: the user whose file and folder it has to be; ours when it is `None`.
    """

    def __init__(
        self, path: Path, now_s: Callable[[], float] = wall_s, owner: int | None = None
    ) -> None:
        self.path = path
        self._now_s = now_s
        self._owner = os.geteuid() if owner is None else owner
        self._read: tuple[Fingerprint, tuple[Token, ...] | TokensFileError] = (MISSING, ())

    # --- reading

    def tokens(self) -> tuple[Token, ...]:
        """Return all tokens, expired ones too; none when there is no file.

        Raises:
            TokensFileError: the file cannot be trusted or understood.
        """
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise self._unreadable(error) from error
        self._check_folder()
        self._check_status(status)
        fingerprint, found = self._read
        if fingerprint != _fingerprint(status):
            fingerprint, raw = self._read_bytes()
            found = self._understood(raw)
            self._read = (fingerprint, found)  # one assignment: other threads see old or new
        if isinstance(found, TokensFileError):
            raise TokensFileError(str(found))
        return found

    def _check_folder(self) -> None:
        try:
            check_folder(self.path.parent, self._owner)
        except SecretsError as error:
            raise TokensFileError(str(error)) from error

    def _check_status(self, status: os.stat_result) -> None:
        try:
            check_file(self.path, status, self._owner)
        except SecretsError as error:
            raise TokensFileError(str(error)) from error
        if status.st_size > MAX_FILE_BYTES:
            raise self._damaged(f"it is larger than {MAX_FILE_BYTES} bytes")

    def _read_bytes(self) -> tuple[Fingerprint, bytes]:
        try:
            # Without waiting: what was a file a moment ago could be a pipe by now.
            fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | _OPEN_FLAGS)
            with os.fdopen(fd, "rb") as file:
                status = os.fstat(fd)
                self._check_status(status)
                return _fingerprint(status), file.read(MAX_FILE_BYTES)
        except OSError as error:
            raise self._unreadable(error) from error

    def _understood(self, raw: bytes) -> tuple[Token, ...] | TokensFileError:
        """Return the tokens, or what is wrong: a damaged file is not read for each check either."""
        try:
            return self._parse(raw)
        except TokensFileError as error:
            return error

    def _parse(self, raw: bytes) -> tuple[Token, ...]:
        try:
            content = parse_config(raw.decode("utf-8"), self.path.name)
        except UnicodeDecodeError as error:
            raise self._damaged("it is not UTF-8") from error
        except ConfigError as error:
            raise self._damaged(error.problems[0]) from error
        entries = content.get("tokens")
        if content.get("format") != FORMAT or not isinstance(entries, list):
            raise self._damaged(f'expected {{"format": {FORMAT}, "tokens": [...]}}')
        tokens = []
        for number, entry in enumerate(entries):
            try:
                tokens.append(Token.from_entry(entry))
            except ValueError as error:
                raise self._damaged(f"tokens[{number}]: {error}") from error
        if len({token.id for token in tokens}) < len(tokens):
            raise self._damaged("an id occurs more than once")
        return tuple(tokens)

    def _damaged(self, what: str) -> TokensFileError:
        return TokensFileError(
            f"{self.path} is damaged: {what}; put a good copy back, or delete it, "
            "which revokes every token in it."
        )

    def _unreadable(self, error: OSError) -> TokensFileError:
        return TokensFileError(f"{self.path} cannot be read: {error.strerror or error}.")

    # --- writing

    def create(
        self, name: str, scopes: tuple[str, ...], lifetime_s: int | None = None,
        expires_s: int | None = None,
    ) -> tuple[Token, str]:  # fmt: skip
        """Keep a new token; return its record, and the token itself for this one time.

        Raises:
            ValueError: a value is wrong, or there are too many tokens.
            TokensFileError: it could not be kept.
        """
        with self._locked():
            now_s = self._now_s()
            kept = self._unexpired(now_s)
            if len(kept) >= MAX_TOKENS:
                raise ValueError(f"there are {MAX_TOKENS} tokens, and no more are kept; revoke one")
            if lifetime_s is not None:
                expires_s = int(now_s) + lifetime_s
            token, secret = mint(name, scopes, now_s, expires_s, {one.id for one in kept})
            self._write([*kept, token])
        return token, secret

    def revoke(self, identity: str) -> Token | None:
        """Forget the token with that id and return its record; `None` when there is none.

        Raises:
            TokensFileError: it could not be forgotten.
        """
        with self._locked():
            tokens = self.tokens()
            revoked = next((token for token in tokens if token.id == identity), None)
            if revoked is not None:
                kept = self._unexpired(self._now_s())
                self._write([token for token in kept if token.id != identity])
        return revoked

    def _unexpired(self, now_s: float) -> list[Token]:
        return [token for token in self.tokens() if not token.has_expired(now_s)]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep all other writers out; the kernel drops the lock when its holder dies."""
        if self.path.parent.exists():  # what is missing is said when the file is opened
            self._check_folder()
        fd = self._open_for_us(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT)
        try:
            self._wait_for_lock(fd)
            yield
        finally:
            os.close(fd)

    def _wait_for_lock(self, fd: int) -> None:
        deadline_s = monotonic_s() + LOCK_TIMEOUT_S
        pause = threading.Event()
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if monotonic_s() >= deadline_s:
                    raise TokensFileError(
                        f"Another program has been writing {self.path} for {LOCK_TIMEOUT_S:g} s; "
                        "nothing was changed."
                    ) from error
                pause.wait(LOCK_POLL_S)
            except OSError as error:  # a file system that has no locks
                raise self._unwritable(error) from error
            else:
                return

    def _open_for_us(self, path: Path, flags: int) -> int:
        """Open a file with mode 0600 that belongs to whoever owns the folder.

        Root may run the command line; the gateway's user must be able to read what it wrote.
        """
        try:
            fd = os.open(path, flags | _OPEN_FLAGS, 0o600)
            try:
                os.fchmod(fd, 0o600)
                if os.geteuid() == 0:
                    folder = path.parent.stat()
                    os.fchown(fd, folder.st_uid, folder.st_gid)
            except OSError:
                os.close(fd)
                raise
        except OSError as error:
            raise self._unwritable(error) from error
        return fd

    def _write(self, tokens: list[Token]) -> None:
        content: dict[str, Any] = {
            "format": FORMAT,
            "tokens": [token.to_entry() for token in tokens],
        }
        new = self.path.with_suffix(".json.new")
        with contextlib.suppress(OSError):
            new.unlink()  # left by a writer that died; nobody else writes now
        fd = self._open_for_us(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)
                file.flush()
                self._make_newer(fd)
                os.fsync(fd)
            new.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            raise self._unwritable(error) from error
        _sync_folder(self.path.parent)

    def _make_newer(self, fd: int) -> None:
        """Give the new file a later time than the old one: a clock tick may see two writes."""
        with contextlib.suppress(FileNotFoundError):
            before_ns = os.lstat(self.path).st_mtime_ns
            if os.fstat(fd).st_mtime_ns <= before_ns:
                os.utime(fd, ns=(before_ns + 1, before_ns + 1))

    def _unwritable(self, error: OSError) -> TokensFileError:
        return TokensFileError(
            f"{self.path} cannot be written: {error.strerror or error}; nothing was changed."
        )


def _fingerprint(status: os.stat_result) -> Fingerprint:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_dev)


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a loss of power, where the file system can do that."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
