"""Numbers of numpy among an answer's values: orjson writes them itself, and fast.

It would write numpy's times as well, and NaT as 1970, so it is only allowed to where there is
nothing but numbers.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, time
from types import NoneType
from typing import Any, Final

from basic_inference_server.core.json_arrays import NUMBERS, array_value, scalar_value
from basic_inference_server.core.json_values import converter

PLAIN_TYPES: Final = frozenset({str, int, float, bool, NoneType, datetime, date, time})
MAX_DEPTH: Final = 200
FEW: Final = 8
SMALL_ARRAY_BYTES: Final = 16384  # what is written by itself is copied once more


class NumbersMet(TypeError):
    """There are many numbers of numpy's."""


class FewNumbers:
    """Turns values into simpler ones, as `json_value` does, as long as few are numpy's scalars.

    Threads share one: what one of them counts for another only changes which way it writes.
    """

    __slots__ = ("met",)

    def __init__(self) -> None:
        self.met = 0

    def __call__(self, value: Any) -> Any:
        """Return what is written in the place of a value.

        Raises:
            NumbersMet: it is a large array of numpy's, or one scalar too many.
            TypeError: see `json_value`.
        """
        convert = converter(type(value))
        if convert is scalar_value:
            self.met += 1
            if self.met > FEW:
                raise NumbersMet
        elif convert is array_value and value.nbytes > SMALL_ARRAY_BYTES:
            raise NumbersMet
        return convert(value)


def holds_only_numbers(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Say whether there is nothing in a value but plain ones and numbers of numpy's."""
    items: Collection[Any]
    if isinstance(value, dict):
        items = value.values()
    elif isinstance(value, list) or type(value) is tuple:
        items = value
    else:
        return type(value) in PLAIN_TYPES or _is_number(value)
    kinds = set(map(type, items)) - PLAIN_TYPES
    if len(kinds) == 1 and converter(next(iter(kinds))) is scalar_value:  # one type is one dtype
        return _is_number(next(item for item in items if type(item) in kinds))
    return depth > 0 and (not kinds or all(holds_only_numbers(item, depth - 1) for item in items))


def _is_number(value: Any) -> bool:
    """Say whether it is a number, or an array of numbers, of numpy's."""
    convert = converter(type(value))
    is_of_numpy = convert is scalar_value or convert is array_value
    return is_of_numpy and value.dtype.kind in NUMBERS
