"""`Binary`: bytes with their type, as they came in a request or shall go out as an answer."""

from __future__ import annotations

import io
import math
import mimetypes
import mmap
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from basic_inference_server.core.showing import whole_characters

OCTETS: Final = "application/octet-stream"
NPY: Final = "application/x-npy"
MAX_FILE_NAME_BYTES: Final = 1024
MAX_NPY_HEAD_BYTES: Final = 16384  # numpy reads heads of up to 10,000
_MEDIA_TYPE = re.compile(r"[!-~][ -~]{0,254}")


class Binary:
    """Bytes that travel as they are: no JSON, no base64, no copy.

    A request's raw body is one, and so is each file of a multipart request; an endpoint that
    returns one answers with these bytes.

    Attributes:
        content: the bytes; of a request a `memoryview` of what was received.
        content_type: their media type, such as `image/png`.
        file_name: the name that they were sent under, or shall be saved under; never a path.
    """

    __slots__ = ("content", "content_type", "file_name")

    def __init__(
        self,
        content: bytes | bytearray | memoryview,
        content_type: str = OCTETS,
        file_name: str | None = None,
    ) -> None:
        self.content = content
        self.content_type = content_type
        self.file_name = file_name

    def __len__(self) -> int:
        return memoryview(self.content).nbytes

    def __bool__(self) -> bool:
        return True

    def __bytes__(self) -> bytes:
        return bytes(self.content)

    def __repr__(self) -> str:
        name = f", {self.file_name!r}" if self.file_name else ""
        return f"Binary({len(self)} bytes, {self.content_type!r}{name})"

    @classmethod
    def of_file(
        cls, path: str | Path, content_type: str | None = None, file_name: str | None = None
    ) -> Binary:
        """Return a file's bytes, mapped and not read; offered under its name for saving.

        Raises:
            OSError: it cannot be read.
        """
        path = Path(path)
        guessed = mimetypes.guess_type(path.name)[0] or OCTETS
        with path.open("rb") as file:
            content: bytes | memoryview = b""
            if path.stat().st_size:
                content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return cls(content, content_type or guessed, file_name or path.name)

    @classmethod
    def of_array(cls, array: Any, file_name: str | None = None) -> Binary:
        """Return a numpy array in numpy's own format (`numpy.load` reads it)."""
        import numpy as np  # noqa: PLC0415 - only for endpoints that use it

        file = io.BytesIO()
        np.save(file, np.asarray(array), allow_pickle=False)
        return cls(file.getbuffer(), NPY, file_name)

    @classmethod
    def of_image(cls, image: Any, format: str = "PNG", file_name: str | None = None) -> Binary:  # noqa: A002 - as Pillow calls it
        """Return a Pillow image, encoded."""
        file = io.BytesIO()
        image.save(file, format)
        return cls(file.getbuffer(), f"image/{format.lower()}", file_name)

    def to_array(self) -> Any:
        """Return the numpy array that was sent in numpy's own format; a view of the bytes.

        Raises:
            ValueError: this is not such an array, or one of Python objects.
        """
        try:
            return _array_in(self.content)
        except Exception as error:  # numpy lets through what its parsers of the head raise
            raise ValueError(f"this is not an array in numpy's format: {error}") from error

    def to_image(self) -> Any:
        """Return the Pillow image that was sent.

        Raises:
            ValueError: this is no image that Pillow can read.
        """
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - only where it is used

        try:
            image = Image.open(io.BytesIO(self.content))
            image.load()
        except (
            UnidentifiedImageError,
            OSError,
            SyntaxError,
            Image.DecompressionBombError,
        ) as error:
            raise ValueError(f"this is not an image: {error}") from error
        return image

    def save(self, path: str | Path) -> None:
        """Write the bytes to a file.

        Raises:
            OSError: it cannot be written.
        """
        Path(path).write_bytes(self.content)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let `INPUT` models have fields of this type."""
        del source, handler
        from pydantic_core import (  # noqa: PLC0415 - only where pydantic is used
            PydanticCustomError,
            core_schema,
        )

        def refuse(value: Any) -> Any:
            del value
            raise PydanticCustomError(
                "binary", "bytes come as a raw body or as a file of a multipart body, not as JSON"
            )

        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_plain_validator_function(refuse),
            python_schema=core_schema.is_instance_schema(cls),
        )


def _array_in(content: bytes | bytearray | memoryview) -> Any:
    """Return the array that is there in numpy's format; raises anything if it is none."""
    import numpy as np  # noqa: PLC0415 - only for endpoints that use it

    octets = memoryview(content).cast("B")
    head = io.BytesIO(bytes(octets[:MAX_NPY_HEAD_BYTES]))
    version = np.lib.format.read_magic(head)
    if version not in {(1, 0), (2, 0)}:
        raise ValueError(f"version {version} of the format is not read")
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, is_fortran, dtype = read_header(head)
    if dtype.hasobject:
        raise ValueError("arrays of Python objects are not read")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or len(octets) - head.tell() < count * dtype.itemsize:
        raise ValueError("it is shorter than it says")
    array = np.frombuffer(content, dtype, count, head.tell())
    return array.reshape(shape, order="F" if is_fortran else "C")


class WireParts(NamedTuple):
    """What of a `Binary` goes over the wire."""

    content: memoryview
    content_type: bytes
    file_name: bytes


def wire_parts(binary: Binary) -> WireParts:
    """Return what is sent of a `Binary`; a file name that is too long is cut.

    Raises:
        TypeError: its content is not bytes in one piece, or its type cannot stand in a header.
    """
    try:
        view = memoryview(binary.content)
        if "O" in view.format:
            raise TypeError("an array of Python objects has no bytes to send")
        content = view.cast("B") if view.nbytes else memoryview(b"")
    except ValueError as error:  # a view that was released
        raise TypeError(str(error)) from error
    content_type: Any = binary.content_type or OCTETS
    if not isinstance(content_type, str) or not _MEDIA_TYPE.fullmatch(content_type):
        raise TypeError(f"{content_type!r:.300} is not a content type")
    text = whole_characters(str(binary.file_name or ""))
    name = text.encode()[:MAX_FILE_NAME_BYTES]
    whole_letters = name.decode("utf-8", "ignore").encode()
    return WireParts(content, content_type.encode("ascii"), whole_letters)
