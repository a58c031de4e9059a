"""The library's own version; `setup.py` reads this file as text."""

from typing import Final

LIB_VER: Final = "0.1.0"
