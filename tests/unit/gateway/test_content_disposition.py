"""Unit tests of offering a file: no name can do more than be a name."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from basic_inference_server.gateway.content_disposition import attachment


def offered(name: str) -> tuple[str, str]:
    """Return the plain and the encoded name that a client reads."""
    line = attachment(name.encode()).decode("ascii")
    found = re.fullmatch(
        r"content-disposition: attachment; filename=\"([^\"\\\x00-\x1f]*)\"; "
        r"filename\*=UTF-8''([A-Za-z0-9%._~-]*)\r\n",
        line,
    )
    assert found is not None, line
    return found[1], unquote(found[2], errors="strict")


@pytest.mark.parametrize(
    ("name", "plain", "encoded"),
    [
        ("report (1).pdf", "report (1).pdf", "report (1).pdf"),
        ('a"b.txt', "a_b.txt", 'a"b.txt'),
        ("a;b=c,d.txt", "a_b_c_d.txt", "a;b=c,d.txt"),
        ("a\r\nX-Evil: 1\r\n\r\n<html>", "a__X-Evil_ 1_____html_", "a\r\nX-Evil: 1\r\n\r\n<html>"),
        ("../../etc/passwd", "passwd", "passwd"),
        ("C:\\Windows\\a.exe", "a.exe", "a.exe"),
        ("été.png", "__t__.png", "été.png"),
        ("\0%00'", "__00_", "\0%00'"),
    ],
)
def test_name_is_offered_and_nothing_else(name: str, plain: str, encoded: str) -> None:
    """Quotes, ends of lines and folders are no part of the header."""
    assert (plain, encoded) == offered(name)


@settings(deadline=None, max_examples=100, database=None)
@given(st.text(max_size=30))
def test_every_name_is_read_back_by_a_client(name: str) -> None:
    """The last part of it, in every language; werkzeug reads it as a browser does."""
    expected = name.replace("\\", "/").rpartition("/")[2]
    assume(expected)
    assert expected == offered(name)[1]
    value = attachment(name.encode()).decode("ascii").partition(": ")[2].rstrip("\r\n")
    kind, options = parse_options_header(value)
    assert ("attachment", expected) == (kind, options["filename"])


@pytest.mark.parametrize("name", [b"", b"folder/", b"folder\\"])
def test_name_that_is_none_offers_a_file_without_one(name: bytes) -> None:
    """The client chooses one: an empty name would be read as one."""
    assert b"content-disposition: attachment\r\n" == attachment(name)


@settings(deadline=None, max_examples=50, database=None)
@given(st.binary(max_size=30))
def test_bytes_that_are_no_text_cannot_break_the_header(name: bytes) -> None:
    """The name comes from a worker, which may send anything."""
    line = attachment(name)
    assert line.endswith(b"\r\n")
    assert 1 == line.count(b"\r")
    assert line[:-2].isascii()
    assert line[:-2].decode("ascii").isprintable()
