"""What numpy's and pandas' values become in JSON.

orjson reads arrays of numbers in place. It is never given times: it knows no NaT and no units such
as ten seconds, for which it ends the process.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import orjson

from basic_inference_server.core.type_names import comes_from

NUMBERS: Final = "biuf"  # numpy's kinds: booleans, integers, floats
ORJSON_BYTES: Final = 8  # long doubles have more
CALENDAR_UNITS: Final = ("Y", "M")


def array_value(array: Any) -> Any:
    """Return a numpy array as JSON that is ready, or as a list."""
    dtype = array.dtype
    if dtype.kind in NUMBERS and type(array).__name__ == "ndarray" and array.ndim:
        if dtype.itemsize > ORJSON_BYTES:
            array = array.astype(float)
        elif not dtype.isnative:
            array = array.astype(dtype.newbyteorder("="))
        elif not array.flags.c_contiguous:
            array = array.copy()
        return orjson.Fragment(orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY))
    if dtype.names and array.ndim:
        return list(array)  # of records
    return _listed(array)


def scalar_value(scalar: Any) -> Any:
    """Return one of numpy's scalars as a plain value."""
    dtype = scalar.dtype
    if dtype.kind == "f" and dtype.itemsize < ORJSON_BYTES:  # with no more digits than it has
        return orjson.Fragment(orjson.dumps(scalar, option=orjson.OPT_SERIALIZE_NUMPY))
    if dtype.kind == "f":
        return float(scalar)
    if dtype.kind == "c":
        return complex(scalar)
    if dtype.names:
        return [scalar[name] for name in dtype.names]
    return _listed(scalar)


def _listed(values: Any) -> Any:
    if values.dtype.kind == "M":
        return _times(values)
    if values.dtype.kind == "m":
        return _durations(values)
    return values.tolist()


def _times(values: Any) -> Any:
    """Return times as `datetime`, as text where that cannot hold them, and NaT as `None`."""
    numpy: Any = sys.modules["numpy"]
    in_us = values.astype("datetime64[us]")
    is_held = (
        (in_us.astype(values.dtype) == values)
        & (in_us >= numpy.datetime64("0001-01-01"))
        & (in_us <= numpy.datetime64("9999-12-31T23:59:59.999999"))
    )
    is_none = numpy.isnat(values)
    if (is_held | is_none).all():
        return in_us.tolist()
    return numpy.where(is_none, None, values.astype(str).astype(object)).tolist()


def _durations(values: Any) -> Any:
    """Return durations in seconds, and NaT as `None`.

    Raises:
        TypeError: they are years or months, which have no length in seconds.
    """
    numpy: Any = sys.modules["numpy"]
    unit, _ = numpy.datetime_data(values.dtype)
    if unit not in CALENDAR_UNITS:
        # Attoseconds and seconds have no common unit in 64 bits.
        second = numpy.timedelta64(10**18, "as") if unit == "as" else numpy.timedelta64(1, "s")
        return (values / second).tolist()  # NaT becomes no number
    if numpy.isnat(values).all():
        return numpy.full(values.shape, None).tolist()
    raise TypeError(
        "timedelta64 in years or months cannot be written as JSON; it has no length in seconds"
    )


def frame_value(frame: Any) -> list[dict[Any, Any]]:
    """Return a data frame of pandas as one dict for each row; its index is left out.

    Raises:
        TypeError: two columns have the same name.
    """
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise TypeError(
            f"a DataFrame with two columns {twice!r} cannot be written as JSON; rename one"
        )
    records: list[dict[Any, Any]] = frame.to_dict("records")
    return records


def is_missing_value(kind: type) -> bool:
    """Say whether a type is that of pandas' `NA` or `NaT`."""
    return comes_from(kind, "pandas", "NAType", "NaTType")
