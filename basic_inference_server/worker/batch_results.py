"""What `_predict_batch` may return: results in the order of the inputs, one for each.

Anything whose order says nothing, or that yields names or keys instead of results, is refused: it
would give one caller another's answer. Types of libraries are known by name; none is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from basic_inference_server.core.errors import EndpointError
from basic_inference_server.core.type_names import comes_from

_OF_NO_RESULTS: tuple[Iterable[Any], ...] = (set(), {}, {}.values(), {}.items())
_UNORDERED = tuple(type(iter(empty)) for empty in _OF_NO_RESULTS)


def results_of_batch(returned: Any, count: int, signature: str) -> list[Any]:
    """Return the results for `count` inputs; what is lazy is computed here.

    Raises:
        EndpointError: they are no sequence, or not as many as inputs.
        BaseException: what a generator of the endpoint's raises.
    """
    if not _is_in_order(returned):
        raise _refusal(signature, count, type(returned).__name__, _advice(returned))
    results = list(islice(iter(returned), count + 1))  # one more shows that there are too many
    close = getattr(returned, "close", None)
    if isinstance(returned, Iterator) and close is not None:
        close()
    if len(results) != count:
        many = "more" if len(results) > count else len(results)
        raise _refusal(signature, count, f"{type(returned).__name__} of {many}")
    return results


def _refusal(signature: str, count: int, shown: str, advice: str = "") -> EndpointError:
    return EndpointError(
        f"{signature}: _predict_batch has to return a list of {count} results, one for each input "
        f"and in their order, and returned {shown}{advice}."
    )


def _is_in_order(returned: Any) -> bool:
    """Say whether iterating gives one result after another."""
    kind = type(returned)
    if isinstance(returned, (list, tuple)):
        return not _has_named_fields(kind)
    if isinstance(returned, Iterator):
        return not isinstance(returned, _UNORDERED)
    is_series = comes_from(kind, "pandas", "Series") or comes_from(kind, "polars", "Series")
    return is_series or _is_array(returned)


def _has_named_fields(kind: type) -> bool:
    """Say whether it is one result of several parts: a named tuple, as `torch.max` returns one."""
    return hasattr(kind, "_fields") or hasattr(kind, "n_sequence_fields")


def _is_array(returned: Any) -> bool:
    kind = type(returned)
    is_array = hasattr(kind, "__dlpack__") or comes_from(kind, "tensorflow", "Tensor")
    return is_array and len(getattr(returned, "shape", ())) > 0


def _advice(returned: Any) -> str:
    """Return what to write instead, where that can be known."""
    if hasattr(type(returned), "to_dict") and hasattr(type(returned), "columns"):
        return '; write .to_dict("records") for a list of its rows'
    if hasattr(type(returned), "__iter__") and not isinstance(returned, (str, bytes)):
        return "; write a list, with the results in the order of the inputs"
    return ""
