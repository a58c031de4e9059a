"""The endpoints that come with the engine, as `config_gateway.txt` enables them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
SERVING: Final = (
    "dummy_model_demo1",
    "dummy_model_demo2",
    "sentiment",
    "get_sim",
    "get_tags",
    "get_qa",
    "get_aprox",
    "get_conf",
    "basic_quiz_model",
    "digits",
    "keywords",
    "summarization",
    "entity_fishing",
    "lsh",
    "langid",
    "file_type",
    "analyze",
)
SUPPORT: Final = "support_process"
DISABLED: Final = (
    "dummy_model_demo1-bis",
    "dummy_model_demo2-bis",
    "ner",  # it needs packages that a checkout does not install
)


def bundled_configuration() -> dict[str, Any]:
    """Return `config_gateway.txt` with the sections that are shipped, in their order.

    A checkout has more of them as soon as its user has written an endpoint.
    """
    configuration: dict[str, Any] = json.loads((ROOT / "config_gateway.txt").read_text())
    shipped = {*SERVING, *DISABLED, SUPPORT}
    sections = configuration["CONFIG_ENDPOINTS"]
    configuration["CONFIG_ENDPOINTS"] = {
        signature: section for signature, section in sections.items() if signature in shipped
    }
    return configuration
