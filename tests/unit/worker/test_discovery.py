"""Unit tests of finding an endpoint: file, class, `_CONFIG`, and what is said when one is wrong."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from basic_inference_server.worker.discovery import find_endpoint, find_file, normalised
from basic_inference_server.worker.load_error import EndpointLoadError

GOOD = """
from basic_inference_server import FlaskWorker

_CONFIG = {"WEIGHT": 0.5}


class SomeNameWorker(FlaskWorker):
    def _predict(self, inputs):
        return 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    known = set(sys.modules)
    made = tmp_path / "plug_ins"
    made.mkdir()
    yield made
    for name in set(sys.modules) - known:
        if name.startswith("plug_ins."):
            del sys.modules[name]


def write(folder: Path, name: str, source: str = GOOD) -> Path:
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(source).lstrip())
    return path


def error_of(folder: Path, server_class: str = "some_name") -> EndpointLoadError:
    with pytest.raises(EndpointLoadError) as caught:
        find_endpoint(folder, server_class)
    return caught.value


def test_endpoint_is_found_by_its_file(folder: Path) -> None:
    """`some_name` is `some_name.py` with a class `SomeNameWorker` and its `_CONFIG`."""
    path = write(folder, "some_name")
    found = find_endpoint(folder, "some_name")
    assert ("SomeNameWorker", {"WEIGHT": 0.5}, path) == (
        found.worker_class.__name__, found.default_config, found.path,
    )  # fmt: skip


@pytest.mark.parametrize("asked", ["some_name", "SomeName", "SOME_NAME", "somename", "_some_name_"])
@pytest.mark.parametrize("stem", ["some_name", "SomeName", "somename"])
def test_case_and_underscores_do_not_matter_in_the_file(
    folder: Path, stem: str, asked: str
) -> None:
    """However the operator writes the name, it is the same endpoint."""
    write(folder, stem)
    assert stem == find_endpoint(folder, asked).path.stem


@pytest.mark.parametrize("name", ["SomeNameWorker", "Somenameworker", "SOME_NAME_Worker"])
def test_case_and_underscores_do_not_matter_in_the_class(folder: Path, name: str) -> None:
    """The class may be spelt as its author likes."""
    write(folder, "some_name", GOOD.replace("SomeNameWorker", name))
    assert name == find_endpoint(folder, "some_name").worker_class.__name__


def test_class_may_end_in_another_word(folder: Path) -> None:
    """`workers_suffix` is what the class names of a project end in."""
    write(folder, "some_name", GOOD.replace("SomeNameWorker", "SomeNameModel"))
    assert "SomeNameModel" == find_endpoint(folder, "some_name", "Model").worker_class.__name__


def test_module_without_a_config_has_an_empty_one(folder: Path) -> None:
    """`_CONFIG` is optional."""
    write(folder, "some_name", GOOD.replace('_CONFIG = {"WEIGHT": 0.5}', ""))
    assert {} == find_endpoint(folder, "some_name").default_config


def test_imported_base_class_is_no_endpoint(folder: Path) -> None:
    """A class that the file only imports does not make the endpoint ambiguous."""
    source = GOOD.replace("import FlaskWorker", "import FlaskWorker as SomeBaseWorker").replace(
        "(FlaskWorker)", "(SomeBaseWorker)"
    )
    write(folder, "some_name", source)
    assert "SomeNameWorker" == find_endpoint(folder, "some_name").worker_class.__name__


def test_exact_file_wins_over_a_similar_one(folder: Path) -> None:
    """Two spellings may live side by side when the configuration names one exactly."""
    write(folder, "some_name")
    write(folder, "SomeName")
    assert "SomeName" == find_file(folder, "SomeName").stem
    assert "some_name" == find_file(folder, "some_name").stem


def test_several_similar_files_are_ambiguous(folder: Path) -> None:
    """Which one is meant is for a person to decide; both are named."""
    write(folder, "some_name")
    write(folder, "SomeName")
    error = error_of(folder, "somename")
    assert str(error) == (
        f"'somename' is ambiguous: SomeName.py, some_name.py in {folder}; keep one of them"
    )
    assert error.is_permanent


def test_missing_file_is_said_with_what_there_is(folder: Path) -> None:
    """A typing mistake is seen at once beside the names that exist; private files are not shown."""
    write(folder, "other")
    write(folder, "__init__", "")
    assert str(error_of(folder)) == (
        f"there is no some_name.py in {folder}; it holds other. "
        "Add the file, or name another with SERVER_CLASS"
    )


@pytest.mark.parametrize("asked", ["some_nam", "somename2", "SomeNames", "smoe_name"])
def test_misspelt_file_is_suggested(folder: Path, asked: str) -> None:
    """Beside everything that there is."""
    write(folder, "some_name")
    write(folder, "other")
    assert str(error_of(folder, asked)) == (
        f"there is no {asked}.py in {folder}; did you mean some_name? it holds other, some_name. "
        "Add the file, or name another with SERVER_CLASS"
    )


def test_empty_folder_and_no_folder_are_told_apart(folder: Path) -> None:
    """An empty endpoints folder is another mistake than a wrong one."""
    assert "it holds no endpoint at all" in str(error_of(folder))
    missing = folder / "nowhere"
    assert f"there is no endpoints folder at {missing}" == str(error_of(missing))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("x = 1\n", "has no class SomeNameWorker(FlaskWorker); add one", id="no class"),
        pytest.param(GOOD.replace("SomeName", "Another"),
                     "has no class SomeNameWorker(FlaskWorker); it has AnotherWorker: rename it",
                     id="class of another name"),
        pytest.param("class SomeNameWorker:\n    pass\n",
                     "SomeNameWorker must be a subclass of basic_inference_server.FlaskWorker",
                     id="not a FlaskWorker"),
        pytest.param("SomeNameWorker = 5\n", "has no class SomeNameWorker", id="not a class"),
        pytest.param(GOOD.replace("_predict", "predict"),
                     "SomeNameWorker needs a method _predict(self, prep_inputs), or "
                     "_predict_batch(self, prepared)", id="no _predict"),
        pytest.param(GOOD.replace("self, inputs", "self"),
                     "SomeNameWorker._predict(self) does not take what the engine gives it: "
                     "write def _predict(self, prep_inputs)", id="wrong arguments"),
        pytest.param(GOOD.replace('{"WEIGHT": 0.5}', '["WEIGHT"]'),
                     "_CONFIG must be a dict, not list", id="wrong _CONFIG"),
        pytest.param(GOOD + "\n\nclass\n", "some_name.py:11: syntax error: invalid syntax",
                     id="syntax error"),
        pytest.param("  x = 1\ny = 2\n", "syntax error", id="indentation"),
        pytest.param("import a_module_that_is_not_there\n",
                     "could not be imported: ModuleNotFoundError: "
                     "No module named 'a_module_that_is_not_there'; "
                     "pip install a_module_that_is_not_there", id="missing module"),
        pytest.param("from plug_ins._shared import x\n",
                     "No module named 'plug_ins", id="missing file of its own"),
        pytest.param("1 / 0\n", "could not be imported: ZeroDivisionError: division by zero",
                     id="raises"),
        pytest.param("raise SystemExit(3)\n", "could not be imported: SystemExit: 3",
                     id="exits"),
        pytest.param("raise KeyboardInterrupt\n", "could not be imported: KeyboardInterrupt",
                     id="interrupts"),
        pytest.param("x = '\udcff'\n".encode("utf-8", "surrogateescape"), "syntax error",
                     id="not utf-8"),
        pytest.param(b"x = 1\0\n", "null bytes", id="nul byte"),
    ],
)  # fmt: skip
def test_wrong_endpoint_is_refused_with_what_to_change(
    folder: Path, source: str | bytes, expected: str
) -> None:
    """The path, the class and the reason are in one sentence, and trying again cannot help."""
    path = folder / "some_name.py"
    path.write_bytes(source if isinstance(source, bytes) else source.lstrip("\n").encode())
    error = error_of(folder)
    assert expected in str(error)
    assert str(path) in str(error)
    assert error.is_permanent


def test_failed_import_leaves_nothing_behind(folder: Path) -> None:
    """After the file was repaired the new one is imported, not half of the old one."""
    write(folder, "some_name", "1 / 0\n")
    error_of(folder)
    assert "plug_ins.some_name" not in sys.modules
    write(folder, "some_name", GOOD)
    assert find_endpoint(folder, "some_name").worker_class


def test_module_is_importable_by_its_own_name(folder: Path) -> None:
    """Pickled classes of an endpoint find their module again."""
    write(folder, "some_name")
    found = find_endpoint(folder, "some_name")
    assert found.worker_class is sys.modules["plug_ins.some_name"].SomeNameWorker


def test_folder_with_the_name_of_an_endpoint_is_a_load_error(folder: Path) -> None:
    """A folder that is called like a Python file is no endpoint."""
    (folder / "some_name.py").mkdir()
    assert "could not be imported" in str(error_of(folder))


def test_names_of_one_endpoint_are_equal_when_normalised() -> None:
    """Upper case and underscores are the only things that do not count."""
    assert normalised("Some_Name") == normalised("somename")
    assert normalised("some-name") != normalised("somename")
