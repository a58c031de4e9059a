"""Unit tests of reading `config_gateway.txt`: strict JSON with positions in every complaint."""

from __future__ import annotations

from pathlib import Path

import pytest

from basic_inference_server.core.config_file import (
    MAX_CONFIG_BYTES,
    ConfigError,
    parse_config,
    read_config_file,
)


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "file")
    return caught.value.problems


def test_object_is_returned_in_the_order_of_the_file() -> None:
    """The keys keep their order, because endpoints are shown in it."""
    parsed = parse_config('{"B": 1, "A": {"Z": [1.5, null, true], "Y": "x"}}', "file")
    assert {"B": 1, "A": {"Z": [1.5, None, True], "Y": "x"}} == parsed
    assert ["B", "A"] == list(parsed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Python versions differ in the place and the words for a trailing comma
        pytest.param('{\n  "A": 1,\n}', "file:", id="trailing comma"),
        pytest.param('{"A": }', "file:1:7: Expecting value", id="missing value"),
        pytest.param("", "file:1:1: Expecting value", id="empty file"),
        pytest.param("{} {}", "file:1:4: Extra data", id="two objects"),
        pytest.param('{"A": "x', "file:1:7: Unterminated string", id="cut in a text"),
        pytest.param("\ufeff{}", "file:1:1: Unexpected UTF-8 BOM", id="byte order mark"),
        pytest.param('{"A": "\n"}', "file:1:8: Invalid control character", id="control character"),
    ],
)
def test_text_that_is_not_json_is_refused_with_line_and_column(text: str, expected: str) -> None:
    """Whoever made the mistake is sent to its place."""
    (problem,) = problems_of(text)
    assert expected == problem[: len(expected)]


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constant_that_json_does_not_have_is_refused(constant: str) -> None:
    """What Python's reader takes beyond the standard is no configuration."""
    assert [f"file: {constant} is not JSON"] == problems_of(f'{{"A": {constant}}}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"A": 1, "A": 2}', "'A'", id="top level"),
        pytest.param('{"X": {"demo": {}, "demo": {}}}', "'demo'", id="nested"),
        pytest.param('{"B": 1, "A": 1, "B": 2, "A": 2}', "'A', 'B'", id="several, sorted"),
    ],
)
def test_duplicate_key_is_refused(text: str, expected: str) -> None:
    """A key that occurs twice is named instead of silently losing its first value."""
    assert [f"file: the key {expected} occurs more than once"] == problems_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[]", "list", id="array"),
        pytest.param("null", "NoneType", id="null"),
        pytest.param('"x"', "str", id="text"),
        pytest.param("3", "int", id="number"),
    ],
)
def test_value_that_is_not_an_object_is_refused(text: str, expected: str) -> None:
    """The configuration is one object and nothing else."""
    assert [f"file: expected one JSON object, got {expected}"] == problems_of(text)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_refused_without_a_recursion_error(opening: str) -> None:
    """A hostile depth is a problem in one line, not a stack overflow."""
    assert ["file: nested too deeply"] == problems_of('{"A": ' + opening * 100_000)


def test_number_with_thousands_of_digits_is_refused() -> None:
    """A number that Python refuses to read is a problem of the configuration."""
    (problem,) = problems_of('{"A": ' + "1" * 5000 + "}")
    assert problem.startswith("file: Exceeds the limit")


def test_file_is_read(tmp_path: Path) -> None:
    """A valid file gives its object, texts in any language included."""
    path = tmp_path / "config_gateway.txt"
    path.write_text('{"DESCRIPTION": "încărcare"}', encoding="utf-8")
    assert {"DESCRIPTION": "încărcare"} == read_config_file(path)


def test_file_with_a_mistake_is_named_with_the_position(tmp_path: Path) -> None:
    """The complaint starts with the file's path, as editors understand it."""
    path = tmp_path / "config_gateway.txt"
    path.write_text('{"A": }')
    with pytest.raises(ConfigError) as caught:
        read_config_file(path)
    assert [f"{path}:1:7: Expecting value"] == caught.value.problems


def test_missing_file_is_a_config_error(tmp_path: Path) -> None:
    """A path that leads nowhere is said with the system's reason."""
    path = tmp_path / "nowhere.txt"
    with pytest.raises(ConfigError) as caught:
        read_config_file(path)
    assert [f"{path}: cannot be read: No such file or directory"] == caught.value.problems


def test_folder_in_place_of_the_file_is_a_config_error(tmp_path: Path) -> None:
    """A folder cannot be read as a file."""
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_config_file(tmp_path)


def test_file_that_is_not_utf8_is_refused_with_its_byte(tmp_path: Path) -> None:
    """The place of the first wrong byte is said."""
    path = tmp_path / "config_gateway.txt"
    path.write_bytes(b'{"A": "\xff"}')
    with pytest.raises(ConfigError) as caught:
        read_config_file(path)
    assert [f"{path}: not UTF-8 at byte 7"] == caught.value.problems


def test_file_with_a_nul_byte_is_refused(tmp_path: Path) -> None:
    """A file that was cut by a crash may be full of zeros."""
    path = tmp_path / "config_gateway.txt"
    path.write_bytes(b"\0" * 20)
    with pytest.raises(ConfigError, match=r"config_gateway\.txt:1:1: Expecting value"):
        read_config_file(path)


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """A wrong file of any size costs a bounded read."""
    path = tmp_path / "config_gateway.txt"
    with path.open("wb") as file:
        file.truncate(MAX_CONFIG_BYTES + 1)
    with pytest.raises(ConfigError) as caught:
        read_config_file(path)
    assert [f"{path}: larger than {MAX_CONFIG_BYTES} bytes"] == caught.value.problems


def test_error_text_has_one_problem_per_line() -> None:
    """Printing the error shows every reason."""
    assert "one\ntwo" == str(ConfigError(["one", "two"]))
