"""Unit tests of `Binary`: files, arrays and images in and out, and what is none of them."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import BaseModel, ValidationError

from basic_inference_server import Binary
from basic_inference_server.worker.binary import wire_parts

ARRAYS = [
    pytest.param(np.arange(6).reshape(2, 3), id="rows first"),
    pytest.param(np.asfortranarray(np.arange(6).reshape(2, 3)), id="columns first"),
    pytest.param(np.arange(24).reshape(2, 3, 4)[:, ::2, ::-1], id="strided"),
    pytest.param(np.array(1.5), id="no dimension"),
    pytest.param(np.zeros((0, 3)), id="empty"),
    pytest.param(np.array([1, 2], dtype=">u2"), id="other byte order"),
    pytest.param(np.array(["é", "longer"]), id="texts"),
    pytest.param(np.array([True, False]), id="truths"),
    pytest.param(np.array([1 + 2j]), id="complex"),
    pytest.param(np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), id="records"),
    pytest.param(np.zeros(1, [(f"field number {i}", "f4") for i in range(300)]), id="long head"),
]


@pytest.mark.parametrize("array", ARRAYS)
def test_array_comes_back_as_it_was(array: Any) -> None:
    """Shape, type and order; and numpy itself reads it."""
    sent = Binary.of_array(array, "a.npy")
    assert ("application/x-npy", "a.npy") == (sent.content_type, sent.file_name)
    for got in (sent.to_array(), np.load(io.BytesIO(bytes(sent)))):
        assert (array.shape, array.dtype) == (got.shape, got.dtype)
        assert np.array_equal(array, got)
    assert np.isfortran(array) == np.isfortran(sent.to_array())


def test_array_is_a_view_of_what_was_received() -> None:
    """A large one costs no copy, and can be written to when what was received can."""
    received = bytearray(bytes(Binary.of_array(np.arange(10))))
    array = Binary(memoryview(received)).to_array()
    assert not array.flags.owndata
    array[0] = 7
    assert 7 == Binary(received).to_array()[0]
    assert not Binary(bytes(received)).to_array().flags.writeable


def test_array_of_records_with_names_of_another_alphabet_is_not_read() -> None:
    """numpy has a third version of its format for it; the sentence says so."""
    with pytest.warns(UserWarning, match="format 3.0"):
        sent = Binary.of_array(np.zeros(1, [("ναί", "f4")]))
    with pytest.raises(ValueError, match=r"version \(3, 0\) of the format is not read"):
        sent.to_array()


def npy(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    head = text.encode("latin-1")
    return b"\x93NUMPY" + version + len(head).to_bytes(2, "little") + head + data


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x93NUMPY", id="a beginning"),
        pytest.param(b"PNG and more", id="something else"),
        pytest.param(bytes(Binary.of_array(np.arange(9)))[:-1], id="a byte short"),
        pytest.param(bytes(Binary.of_array(np.arange(9)))[:40], id="half a head"),
        pytest.param(npy("{'descr':'<i8','fortran_order':False,'shape':(-3,)}", bytes(24)),
                     id="negative"),
        pytest.param(npy("{'descr':'<i8','fortran_order':False,'shape':(2**62, 4)}"), id="formula"),
        pytest.param(npy(f"{{'descr':'<i8','fortran_order':False,'shape':({2**62},4)}}"),
                     id="too large for a number"),
        pytest.param(npy(f"{{'descr':'<i8','fortran_order':False,'shape':({2**70},)}}"),
                     id="larger than any number"),
        pytest.param(npy("{'descr':'|O','fortran_order':False,'shape':(1,)}", bytes(8)),
                     id="objects"),
        pytest.param(npy("{'descr':[('a','|O')],'fortran_order':False,'shape':(1,)}", bytes(8)),
                     id="objects in records"),
        pytest.param(npy("{'descr':'|V0','fortran_order':False,'shape':(9,)}"), id="no size"),
        pytest.param(npy("__import__('os').abort()"), id="code"),
        pytest.param(npy("(" * 500), id="brackets"),
        pytest.param(npy("'''"), id="half a text"),
        pytest.param(npy("{}"), id="empty head"),
        pytest.param(npy("{'descr':'<i8','fortran_order':False,'shape':(1,)}", bytes(8), b"\7\0"),
                     id="version of the future"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_array_are_a_value_error(content: bytes) -> None:
    """So `_pre_process` answers 422; nothing is unpickled, nothing executed."""
    with pytest.raises(ValueError, match="array"):
        Binary(content).to_array()


@settings(deadline=None, max_examples=300, database=None)
@given(st.data())
def test_damaged_array_is_an_array_or_a_value_error(data: st.DataObject) -> None:
    """Any bytes of the head may be any others."""
    content = bytearray(bytes(Binary.of_array(np.arange(4, dtype="i2"))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        assert isinstance(Binary(content).to_array(), np.ndarray)


def test_file_is_mapped_and_named(tmp_path: Path) -> None:
    """Its type follows its name; an empty one is empty, and no error."""
    path = tmp_path / "picture.png"
    path.write_bytes(b"abc")
    sent = Binary.of_file(path)
    assert ("image/png", "picture.png", 3) == (sent.content_type, sent.file_name, len(sent))
    assert b"abc" == bytes(sent)
    path.write_bytes(b"")
    assert b"" == bytes(Binary.of_file(str(path)))
    other = Binary.of_file(path, "text/x-mine", "other.txt")
    assert ("text/x-mine", "other.txt") == (other.content_type, other.file_name)
    unknown = tmp_path / "without_type"
    unknown.touch()
    assert "application/octet-stream" == Binary.of_file(unknown).content_type
    with pytest.raises(FileNotFoundError):
        Binary.of_file(tmp_path / "none")


def test_what_is_saved_is_what_was_received(tmp_path: Path) -> None:
    """Bytes of any kind."""
    Binary(memoryview(b"a\0b")).save(tmp_path / "file")
    assert b"a\0b" == (tmp_path / "file").read_bytes()


@pytest.mark.parametrize(("name", "content_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"),
                                                    ("BMP", "image/bmp")])  # fmt: skip
def test_image_comes_back(name: str, content_type: str) -> None:
    """Its size and colours, in each format of Pillow's."""
    image = Image.new("RGB", (4, 3), (255, 0, 0))
    sent = Binary.of_image(image, name, "red")
    assert (content_type, "red") == (sent.content_type, sent.file_name)
    got = sent.to_image()
    assert ((4, 3), "RGB") == (got.size, got.mode)
    assert got.getpixel((1, 1))[0] > 250


def test_truncated_or_other_bytes_are_no_image() -> None:
    """A value error, whatever Pillow makes of them."""
    noise = Image.effect_noise((200, 200), 80)
    whole = bytes(Binary.of_image(noise))
    for content in (b"", b"no image", whole[: len(whole) // 2], whole[:20]):
        with pytest.raises(ValueError, match="this is not an image"):
            Binary(content).to_image()


def test_image_that_would_fill_the_memory_is_refused() -> None:
    """A few bytes that say they are 10 gigapixels (a decompression bomb)."""
    head = bytearray(bytes(Binary.of_image(Image.new("1", (1, 1)), "BMP")))
    head[18:26] = (100_000).to_bytes(4, "little") * 2
    with pytest.raises(ValueError, match="this is not an image"):
        Binary(bytes(head)).to_image()


def test_binary_shows_what_it_is_and_never_its_bytes() -> None:
    """For logs; and it is true even when it is empty."""
    assert "Binary(3 bytes, 'image/png', 'a.png')" == repr(Binary(b"abc", "image/png", "a.png"))
    assert "Binary(0 bytes, 'application/octet-stream')" == repr(Binary(b""))
    assert bool(Binary(b""))
    assert 24 == len(Binary(np.arange(3).data))


class _Upload(BaseModel):
    FILE: Binary
    MORE: list[Binary] = []


def test_input_models_have_fields_of_it() -> None:
    """Anything else there is a validation error."""
    file = Binary(b"abc")
    assert file is _Upload(FILE=file).FILE
    assert [file] == _Upload(FILE=file, MORE=[file]).MORE
    for wrong in ("abc", b"abc", None):
        with pytest.raises(ValidationError, match="instance of Binary"):
            _Upload.model_validate({"FILE": wrong})


def test_long_file_name_is_cut_between_letters() -> None:
    """The one who receives it reads it as UTF-8."""
    sent = wire_parts(Binary(b"", file_name="x" + "é" * 2000)).file_name
    assert 1023 == len(sent)
    assert "x" + "é" * 511 == sent.decode()
    assert "\ufffd" == wire_parts(Binary(b"", file_name="\udcff")).file_name.decode()


@pytest.mark.parametrize("content", [b"", bytearray(), np.zeros((0, 3)).data])
def test_empty_content_is_sent(content: Any) -> None:
    """In every shape; no type is octets."""
    parts = wire_parts(Binary(content, ""))
    assert (b"", b"application/octet-stream") == (bytes(parts.content), parts.content_type)


def _released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


@pytest.mark.parametrize(
    ("content", "content_type"),
    [(_released(), "a/b"), (np.array([{}]).data, "a/b"), ("text", "a/b"), (None, "a/b"),
     (b"", "a/b\r\nX: 1"), (b"", "é/b"), (b"", " a/b"), (b"", 5), (b"", "a/" + "b" * 300)],
)  # fmt: skip
def test_binary_that_cannot_be_sent_is_a_type_error(content: Any, content_type: Any) -> None:
    """A content that is not bytes in one piece, a type that would not stand in a header."""
    with pytest.raises(TypeError):
        wire_parts(Binary(content, content_type))
