"""The endpoints that come with the engine, as `config_gateway.txt` enables them."""

from __future__ import annotations

from typing import Final

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
DISABLED: Final = ("ner",)  # it needs packages that a checkout does not install
