"""Unit tests of what a body is known by."""

from __future__ import annotations

from basic_inference_server.core.fingerprints import fingerprint_of, reference_of

ABC_SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_fingerprint_is_half_a_digest_of_the_bytes() -> None:
    """Of received bytes as of kept ones."""
    assert ABC_SHA256[:32] == fingerprint_of(b"abc") == fingerprint_of(bytearray(b"abc"))


def test_reference_is_short_and_says_what_it_is() -> None:
    """People read it in an error and type it into a release."""
    assert "q-ba7816bf8f01cfea" == reference_of(fingerprint_of(b"abc"))
