"""`Binary`: bytes with their type, as they came in a request or shall go out as an answer."""

from __future__ import annotations

import io
import mimetypes
import mmap
from pathlib import Path
from typing import Any, Final

OCTETS: Final = "application/octet-stream"
NPY: Final = "application/x-npy"


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
        import numpy as np  # noqa: PLC0415 - only for endpoints that use it

        head = io.BytesIO(bytes(memoryview(self.content)[:4096]))
        try:
            version = np.lib.format.read_magic(head)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, is_fortran, dtype = read_header(head)
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"this is not an array in numpy's format: {error}") from error
        if dtype.hasobject:
            raise ValueError("an array of Python objects is not read")
        count = int(np.prod(shape, dtype=np.int64))
        if len(self) - head.tell() < count * dtype.itemsize:
            raise ValueError("the array is shorter than it says")
        array = np.frombuffer(self.content, dtype, count, head.tell())
        return array.reshape(shape, order="F" if is_fortran else "C")

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
        from pydantic_core import core_schema  # noqa: PLC0415 - only where pydantic is used

        return core_schema.is_instance_schema(cls)
