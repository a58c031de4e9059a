"""Clients that come from addresses of their own: all of 127.0.0.0/8 is this machine."""

from __future__ import annotations

import itertools
from typing import Any

import requests
from requests.adapters import HTTPAdapter

_numbers = itertools.count(2)


class _FromAddress(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, source_address=(self._address, 0), **options)


def own_address() -> str:
    """Return an address that no other client of this test run has."""
    number = next(_numbers)
    return f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def client_from(address: str | None = None) -> requests.Session:
    """Return a client with an address of its own, or that one; it keeps its connection."""
    session = requests.Session()
    session.mount("http://", _FromAddress(address or own_address()))
    return session
