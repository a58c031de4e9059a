"""The endpoints that come with the server: one file each, found by name.

A file `some_name.py` with a class `SomeNameWorker` answers for the signature `some_name`.
Files here are loaded by that endpoint's own server and by nobody else.
A file whose name begins with an underscore is no endpoint: several endpoints share it.
An endpoint imports files of this folder as `from endpoints import name`; after `import endpoints`,
`endpoints.name` works, too.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    """Import a file of this folder when it is asked for."""
    full_name = f"{__name__}.{name}"
    if name.startswith("__") or find_spec(full_name) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(full_name)
