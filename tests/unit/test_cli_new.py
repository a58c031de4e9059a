"""Unit tests of writing a new endpoint's section, and of the command that writes all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from basic_inference_server.cli import main
from basic_inference_server.cli_new import with_section
from basic_inference_server.core.config_file import ConfigError
from basic_inference_server.core.settings import process_environment, validate

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "text",
    [
        '{"CONFIG_ENDPOINTS": {}}',
        '{"CONFIG_ENDPOINTS": {"a": {}}}',
        '{"CONFIG_ENDPOINTS" : {\n  "a": {"X": "}"}\n},\n "LAST": {"b": 1}}',
        (ROOT / "config_gateway.txt").read_text(encoding="utf-8"),
    ],
    ids=["empty", "one", "odd", "bundled"],
)
def test_section_is_added_and_the_rest_stays(text: str) -> None:
    """Every line that was there is there, and the configuration is valid."""
    changed = with_section(text, "my_model")
    before, after = json.loads(text), json.loads(changed)
    assert {"NR_WORKERS": 1} == after["CONFIG_ENDPOINTS"].pop("my_model")
    assert before == after
    validate(json.loads(changed))
    assert [*before["CONFIG_ENDPOINTS"], "my_model"] == list(
        json.loads(changed)["CONFIG_ENDPOINTS"]
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [('{"CONFIG_ENDPOINTS": {"my_model": {}}}', "has my_model already"),
     ('{"CONFIG_ENDPOINTS": []}', "is no object"), ("{}", "has no CONFIG_ENDPOINTS")],
)  # fmt: skip
def test_configuration_that_cannot_take_it_is_said(text: str, problem: str) -> None:
    """Nothing is written then."""
    with pytest.raises(ConfigError, match=problem):
        with_section(text, "my_model")


def test_new_endpoint_passes_its_own_test(tmp_path: Path) -> None:
    """In an empty folder: endpoint, test and configuration fit together."""
    main(["new", "my_model", "-b", str(tmp_path)])
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        env={**process_environment(), "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "2 passed" in tested.stdout, tested.stdout + tested.stderr
    config = json.loads((tmp_path / "config_gateway.txt").read_text())
    assert ["my_model"] == list(validate(config).CONFIG_ENDPOINTS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["Next:", "  python -m basic_inference_server run --host 127.0.0.1"]),
        (
            ["-b", "project", "--config", "other.txt"],
            ["Next, in project:",
             "  python -m basic_inference_server run --host 127.0.0.1 --config other.txt"],
        ),
    ],
)  # fmt: skip
def test_what_to_type_next_is_said(
    options: list[str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Its test, the gateway and a request; for the folder and the configuration that were named."""
    monkeypatch.chdir(tmp_path)
    main(["new", "my_model", *options])
    printed = capsys.readouterr().out.splitlines()
    assert set(expected) <= set(printed)
    assert "  python -m pytest tests/test_my_model.py" in printed
    request = """'{"SIGNATURE": "my_model", "VALUE": 3}'"""
    assert f"  curl -s http://127.0.0.1:5002/run -d {request}" in printed


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither an endpoint nor a test nor a section."""
    main(["new", "my_model", "-b", str(tmp_path)])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("my_model", "MyModel", "my-model", "", "../up"):
        with pytest.raises(SystemExit) as ended:
            main(["new", name, "-b", str(tmp_path)])
        assert 1 == ended.value.code
    (tmp_path / "endpoints" / "other.py").write_text("")
    with pytest.raises(SystemExit):
        main(["new", "other", "-b", str(tmp_path)])
    assert "is there already" in capsys.readouterr().err
    (tmp_path / "endpoints" / "other.py").unlink()
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
