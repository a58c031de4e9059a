"""Version of the application; `ver` in every answer."""

__VER__ = "0.1.0"
