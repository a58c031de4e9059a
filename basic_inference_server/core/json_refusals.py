"""Says of a value that cannot be written as JSON what to write instead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Final

from basic_inference_server.core.type_names import comes_from

FUNCTIONS: Final = (FunctionType, BuiltinFunctionType, MethodType)


class OneShot(TypeError):
    """An iterator was met: it can be read once, and a writer may need its values twice."""


def refusal(value: Any) -> TypeError:
    """Return the error for a value that cannot be written; it names the type."""
    kind = type(value)
    name = value.__name__ if isinstance(value, type) else kind.__name__
    error = OneShot if isinstance(value, Iterator) else TypeError
    return error(f"{name} cannot be written as JSON; {_advice(value, kind)}")


def _advice(value: Any, kind: type) -> str:
    if isinstance(value, type):
        return "it is a class; return an instance of it"
    advice = _library_advice(value, kind) or _advice_by_kind(value)
    if advice:
        return advice
    if hasattr(value, "__dict__"):
        return "write a dict of what the caller needs, or vars(value)"
    return "write a dict or a text of what the caller needs, such as str(value)"


def _library_advice(value: Any, kind: type) -> str:
    if comes_from(kind, "PIL", "Image"):
        return "return Binary.of_image(image), as the answer or as a field of it"
    if hasattr(kind, "savefig"):
        return "save it into an io.BytesIO and return a Binary of that"
    if hasattr(value, "status_code") and hasattr(value, "headers"):  # of Flask, of Starlette
        return "an endpoint returns its fields as a dict, without status and headers"
    return ""


def _advice_by_kind(value: Any) -> str:
    if isinstance(value, complex):
        return "write [value.real, value.imag]"
    if isinstance(value, Awaitable):
        return "it was not awaited; write await in front of it"
    if isinstance(value, (Iterator, AsyncIterator)):
        return "write a list of its items"
    if isinstance(value, BaseException):
        return "raise it, or write str(error)"
    return "it is a function; call it" if isinstance(value, FUNCTIONS) else ""
