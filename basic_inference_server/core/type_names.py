"""Recognises types of libraries by name, so that the engine imports none of those libraries."""

from __future__ import annotations


def comes_from(kind: type, library: str, *names: str) -> bool:
    """Say whether a type is one of `names` of a library, or derived from one; without names, any.

    Args:
        kind: the type.
        library: the library's top-level module.
        *names: names of classes.
    """
    return any(
        base.__module__.partition(".")[0] == library and (not names or base.__name__ in names)
        for base in kind.__mro__
    )
