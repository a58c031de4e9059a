"""Unit tests of the password with which a support process reports."""

from __future__ import annotations

import base64
import netrc
from pathlib import Path

from basic_inference_server.core.support_key import netrc as written_netrc
from basic_inference_server.core.support_key import reporter


def test_netrc_is_read_by_the_standard_library(tmp_path: Path) -> None:
    """What `requests` finds in it makes the header that the gateway knows."""
    path = tmp_path / "netrc"
    path.write_text(written_netrc("key", "watch-1.b", "127.0.0.1"))
    found = netrc.netrc(path).authenticators("127.0.0.1")
    assert found is not None
    login, _, password = found
    header = "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()
    assert "watch-1.b" == reporter("key", header)
    assert reporter("other key", header) is None
    assert reporter("", header) is None
    assert netrc.netrc(path).authenticators("example.com") is None
