"""Unit tests of what is local: addresses and names."""

from __future__ import annotations

import pytest

from basic_inference_server.gateway.control_plane.local_call import is_local_name, is_loopback


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("192.0.2.7", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:192.0.2.7", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("localhost", False),
        ("127.0.0.1.evil.example", False),
        ("127.1", False),
        ("2130706433", False),
    ],
)
def test_loopback_address_is_recognised(address: str, expected: bool) -> None:
    """IPv4, IPv6, and IPv4 as IPv6 shows it; nothing else."""
    assert expected is is_loopback(address)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost:5002", True),
        ("LOCALHOST:5002", True),
        ("demo.localhost", True),
        ("127.0.0.1:5002", True),
        ("[::1]:5002", True),
        ("", False),
        ("evil.example", False),
        ("evil.example:5002", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("notlocalhost", False),
        ("192.0.2.7", False),
        ("0.0.0.0:5002", False),
        ("[::1", False),
        ("\x00", False),
    ],
)
def test_local_host_name_is_recognised(host: str, expected: bool) -> None:
    """A name that somebody else's DNS can point at this machine is not local."""
    assert expected is is_local_name(host)
