"""Unit tests of tokens: scopes, expiry, what is kept, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.core.tokens import (
    ADMIN,
    MAX_LIFETIME_S,
    MAX_NAME,
    MAX_SCOPES,
    RUN_ANY,
    Token,
    checked_name,
    checked_scopes,
    digest_of,
    duration_s,
    find,
    instant_s,
    instant_text,
    mint,
    run_scope,
    scoped_signature,
)

NOW_S = 1_800_000_000.25


def token(*scopes: str, expires_s: int | None = None) -> Token:
    return mint("test", scopes, NOW_S, expires_s)[0]


@pytest.mark.parametrize(
    ("scopes", "needed", "expected"),
    [
        ((ADMIN,), ADMIN, True),
        ((ADMIN,), "run:demo", True),
        ((RUN_ANY,), "run:demo", True),
        ((RUN_ANY,), ADMIN, False),
        (("run:demo",), "run:demo", True),
        (("run:demo",), "run:demo2", False),
        (("run:demo",), "run:dem", False),
        (("run:demo",), "run:DEMO", False),
        (("run:demo",), ADMIN, False),
        (("run:admin",), ADMIN, False),
        (("run:admin",), "run:admin", True),
        (("run:a", "run:b"), "run:b", True),
        (("run:a", "run:b"), "run:c", False),
        (("run:a", ADMIN), "run:c", True),
    ],
)
def test_scope_allows_what_it_says_and_nothing_else(
    scopes: tuple[str, ...], needed: str, expected: bool
) -> None:
    """Administration is everything; `run:*` is every endpoint; a name is that one endpoint."""
    assert expected is token(*scopes).allows(needed)


@pytest.mark.parametrize(
    "scopes",
    [
        [], "admin", None, {}, ["Admin"], ["run:"], ["run"], ["*"], ["run:a b"], ["run:../x"],
        ["run:" + "a" * 129], [1], [None], ["admin", "root"], [["admin"]],
        [f"run:e{number}" for number in range(MAX_SCOPES + 1)],
    ],
)  # fmt: skip
def test_what_is_no_list_of_scopes_is_refused(scopes: Any) -> None:
    """A scope that nobody understands must not be kept, as if it meant something."""
    with pytest.raises(ValueError, match=r"scope|SCOPES"):
        checked_scopes(scopes)


def test_scopes_are_kept_once_each() -> None:
    """In the order in which they were given."""
    assert ("run:b", "run:a") == checked_scopes(["run:b", "run:a", "run:b"])


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[31mred", "x" * (MAX_NAME + 1), None, 7])
def test_name_that_could_garble_a_list_is_refused(name: Any) -> None:
    """Names are shown on terminals."""
    with pytest.raises(ValueError, match="NAME"):
        checked_name(name)


def test_scope_knows_its_endpoint() -> None:
    """Only `run:<signature>` is for a single one."""
    assert "demo" == scoped_signature(run_scope("demo"))
    assert [None, None] == [scoped_signature(scope) for scope in (ADMIN, RUN_ANY)]


@pytest.mark.parametrize(
    ("expires_s", "at_s", "expected"),
    [(None, 1e12, False), (2_000_000_000, 1_999_999_999.9, False), (2_000_000_000, 2e9, True)],
)
def test_token_expires_at_its_second(expires_s: int | None, at_s: float, expected: bool) -> None:
    """From that instant on, by the clock that it is asked with; or never."""
    assert expected is token(ADMIN, expires_s=expires_s).has_expired(at_s)


@pytest.mark.parametrize("offset_s", [0, -1, MAX_LIFETIME_S + 1])
def test_expiry_has_to_lie_ahead(offset_s: int) -> None:
    """A token that is void at once, or practically never, is a mistake."""
    with pytest.raises(ValueError, match="expiry"):
        token(ADMIN, expires_s=int(NOW_S) + offset_s)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30d", 2592000), ("12h", 43200), ("90m", 5400), ("1s", 1), ("3660d", MAX_LIFETIME_S),
     ("never", None)],
)  # fmt: skip
def test_lifetime_is_read(text: str, expected: int | None) -> None:
    """A number and a unit, as on the command line."""
    assert expected == duration_s(text)


@pytest.mark.parametrize(
    "text",
    ["", "d", "0d", "-1d", "1.5h", "30", "30 d", "3661d", "1w", "Never", "٣d", "9" * 30 + "s"],
)
def test_lifetime_that_is_none_is_refused(text: str) -> None:
    """The message says what is expected."""
    with pytest.raises(ValueError, match="90d"):
        duration_s(text)


def test_instant_is_read_and_written_in_iso_8601() -> None:
    """With its zone; shown in UTC."""
    assert 1_800_000_000 == instant_s("2027-01-15T08:00:00Z") == instant_s("2027-01-15T09:00+01:00")
    assert "2027-01-15T08:00:00Z" == instant_text(1_800_000_000)
    assert instant_text(None) is None


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2027-01-15", "2027-01-15T08:00:00", "1800000000"]
)
def test_instant_without_zone_is_refused(text: str) -> None:
    """Whose midnight would it be?"""
    with pytest.raises(ValueError, match=r"zone|isoformat"):
        instant_s(text)


def test_new_token_is_random_and_only_its_digest_is_kept() -> None:
    """256 bits, recognisable by its prefix, and nowhere in its record."""
    record, secret = mint("test", [ADMIN], NOW_S, None)
    assert re.fullmatch(r"bis_[A-Za-z0-9_-]{43}", secret)
    assert hashlib.sha256(secret.encode()).digest() == record.digest
    assert secret not in json.dumps(record.to_entry())
    assert secret != mint("test", [ADMIN], NOW_S, None)[1]


def test_record_does_not_show_its_digest_in_logs() -> None:
    """Whoever prints a record by mistake prints no digest."""
    record = token(ADMIN)
    assert record.digest.hex() not in repr(record)
    assert repr(record.digest) not in repr(record)


def test_ids_are_not_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id names one token, so a revocation can hit no other one."""
    drawn = iter(["aaaaaaaa", "bbbbbbbb", "cccccccc"])
    monkeypatch.setattr("secrets.token_hex", lambda _bytes: next(drawn))
    assert "cccccccc" == mint("n", [ADMIN], NOW_S, None, {"aaaaaaaa", "bbbbbbbb"})[0].id


def test_record_survives_its_file() -> None:
    """What is written is what is read."""
    record = token("run:a", RUN_ANY, expires_s=1_900_000_000)
    assert record == Token.from_entry(json.loads(json.dumps(record.to_entry())))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "xyz"), ("id", None), ("id", "AAAAAAAA"), ("sha256", "ab" * 31), ("sha256", 5),
        ("sha256", "zz" * 32), ("scopes", []), ("scopes", "admin"), ("scopes", ["root"]),
        ("name", ""), ("name", None), ("created", "now"), ("created", True), ("expires", -1),
        ("expires", 1.5), ("expires", 10**18), ("more", 1),
    ],
)  # fmt: skip
def test_wrong_record_is_refused_without_showing_it(field: str, value: Any) -> None:
    """A digest must not end in a log because the file was damaged."""
    entry = token(ADMIN).to_entry()
    with pytest.raises(ValueError, match=r"\w") as caught:
        Token.from_entry({**entry, field: value})
    assert entry["sha256"] not in str(caught.value)


@pytest.mark.parametrize("entry", [None, [], "x", {}, 1])
def test_what_is_no_record_is_refused(entry: Any) -> None:
    """The message names the fields that there have to be."""
    with pytest.raises(ValueError, match="sha256"):
        Token.from_entry(entry)


def test_token_is_found_by_its_digest_among_several() -> None:
    """Any of those that are valid at the same time, and no other."""
    minted = [mint(f"t{number}", [ADMIN], NOW_S, None) for number in range(5)]
    records = [record for record, _ in minted]
    assert records == [find(records, digest_of(secret.encode())) for _, secret in minted]
    assert find(records, digest_of(b"bis_wrong")) is None
    assert find([], digest_of(b"")) is None


def test_every_candidate_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time does not say which token, or whether any, was right."""
    compared: list[bytes] = []

    def compare(kept: bytes, given: bytes) -> bool:
        compared.append(kept)
        return kept == given

    monkeypatch.setattr("hmac.compare_digest", compare)
    records = [token(ADMIN) for _ in range(4)]
    for digest in (records[0].digest, records[3].digest, digest_of(b"wrong")):
        compared.clear()
        find(records, digest)
        assert [record.digest for record in records] == compared


@settings(deadline=None, max_examples=100, database=None)
@given(st.binary(max_size=200))
def test_any_bytes_can_be_compared(secret: bytes) -> None:
    """No header makes the comparison fail: `compare_digest` refuses text that is not ASCII."""
    assert find([token(ADMIN)], digest_of(secret)) is None
