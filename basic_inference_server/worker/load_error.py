"""Why an endpoint could not be loaded, in one sentence that says what to change."""

from __future__ import annotations


class EndpointLoadError(Exception):
    """The endpoint cannot be loaded.

    `is_permanent` says that trying again cannot help until somebody changes a file or the
    configuration: a missing file, a syntax error, a broken rule.
    """

    def __init__(self, message: str, *, is_permanent: bool = True) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent
