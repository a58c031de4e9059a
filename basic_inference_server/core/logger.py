"""The seeds' `Logger`: a thin face over the structured log and the configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from basic_inference_server.core.logs import EventLog, process_sink


class Logger:
    """Says coloured lines with `P` and holds `config_data`.

    Args:
        lib_name: name of the program; shown on each line.
        base_folder: folder that holds configuration and endpoints.
        app_folder: folder under it for everything that must outlive a restart.
        config_file: JSON configuration to read into `config_data`; `None` reads nothing.
        TF_KERAS: accepted for compatibility; no effect.
        max_lines: accepted for compatibility; lines are never kept in memory.
        log: the structured log to write to; made for this process when not given.

    Raises:
        ConfigError: `config_file` cannot be read or is not one JSON object.
    """

    def __init__(
        self,
        lib_name: str = "",
        base_folder: str = ".",
        app_folder: str = "_cache",
        config_file: str | None = None,
        TF_KERAS: bool = False,
        max_lines: int | None = None,
        log: EventLog | None = None,
        **_ignored: Any,
    ) -> None:
        del TF_KERAS, max_lines
        self.lib_name = lib_name
        self.base_folder = base_folder
        self.app_folder = app_folder
        self.config_file = config_file
        self.events = log or EventLog(process_sink(), program=lib_name or None)
        self._laid_over: dict[str, Any] = {}
        self.config_data: dict[str, Any] = {}
        if config_file:
            self.config_data = self._read(config_file)

    def read_again(self) -> dict[str, Any]:
        """Return what the configuration file says now, under what was laid over it.

        Raises:
            ConfigError: the file cannot be read or is not one JSON object.
        """
        if not self.config_file:
            return self.config_data
        return {**self._read(self.config_file), **self._laid_over}

    def _read(self, config_file: str) -> dict[str, Any]:
        # Imported here: an endpoint's Logger reads no file and must not pay for the reader.
        from basic_inference_server.core.config_file import read_config_file  # noqa: PLC0415

        return read_config_file(self.config_path(config_file))

    def config_path(self, config_file: str) -> Path:
        """Return where `config_file` is: under the base folder, or else as given."""
        in_base_folder = Path(self.base_folder) / config_file
        given = Path(config_file)
        return given if given.exists() and not in_base_folder.exists() else in_base_folder

    def P(self, text: Any, color: str | None = None, **_ignored: Any) -> None:
        """Write one message; `color` is a letter or name such as `r`, `g`, `yellow`."""
        level = "error" if color in {"r", "red"} and "rror" in str(text) else "info"
        self.events.say(level, "message", message=str(text), color=color)

    p = P

    def update_config_data(self, config_data: dict[str, Any]) -> None:
        """Lay `config_data` over what is there."""
        self._laid_over = {**self._laid_over, **config_data}
        self.config_data = {**self.config_data, **config_data}

    def get_base_folder(self) -> str:
        """Return the absolute base folder."""
        return os.path.abspath(self.base_folder)  # noqa: PTH100 - a str, as in the seeds
