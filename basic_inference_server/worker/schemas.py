"""`INPUT` and `OUTPUT`: pydantic models that say what an endpoint takes and gives.

Both ways it is pydantic's JSON mode: what JSON can only write as text is read from text, even where
a model is strict, and written as `model_dump_json` does. Without models nothing here runs, and
pydantic is not imported.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from basic_inference_server.core.errors import BadInput, EndpointError
from basic_inference_server.core.json_values import json_of_request, model_value
from basic_inference_server.core.type_names import comes_from
from basic_inference_server.worker.load_error import EndpointLoadError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from basic_inference_server.worker.flask_worker import FlaskWorker

# What the engine reads of a request; a model that forbids extra fields need not name them.
ENGINE_FIELDS = frozenset({"SIGNATURE", "BASE64_KEYS", "BASE64_OUTPUTS", "ENCODING"})
MAX_DETAILS = 20
MAX_SHOWN = 80
NO_JSON = "this field cannot be sent as JSON"

Convert = Callable[[Any], Any]


def input_reader(worker: FlaskWorker) -> Convert | None:
    """Return what turns a request's fields into an `INPUT`; `None` where there is no such model.

    Raises:
        EndpointLoadError: `INPUT` is no pydantic model.
    """
    model = _model(worker, "INPUT")
    if model is None:
        return None
    from pydantic import ValidationError  # noqa: PLC0415 - only for endpoints that use it

    aside = ENGINE_FIELDS - set(model.model_fields)

    def read(inputs: dict[str, Any]) -> Any:
        fields = {name: value for name, value in inputs.items() if name not in aside}
        json = json_of_request(fields)
        try:
            if json is None:  # with bytes, which only a Python object can hold
                return model.model_validate(fields)
            return model.model_validate_json(json)
        except ValidationError as error:
            details = details_of(error)
            raise BadInput(
                f"{worker.signature} refused the inputs: {_sentence(details)}", details=details
            ) from error

    return read


def output_writer(worker: FlaskWorker) -> Convert | None:
    """Return what checks a result against `OUTPUT`; `None` where there is no such model.

    Raises:
        EndpointLoadError: `OUTPUT` is no pydantic model.
    """
    model = _model(worker, "OUTPUT")
    if model is None:
        return None
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - the same

    # What is written is what the model names, and not what a class derived from it adds.
    dump = TypeAdapter(model).dump_python

    def write(result: Any) -> Any:
        try:
            valid = model.model_validate(result, from_attributes=True, by_alias=True, by_name=True)
            return model_value(partial(dump, valid), model.__name__)
        except ValidationError as error:
            raise EndpointError(
                f"{worker.signature} returned something that is no "
                f"{model.__name__}: {_sentence(details_of(error))}"
            ) from error

    return write


def _model(worker: FlaskWorker, name: str) -> type[BaseModel] | None:
    model: Any = getattr(type(worker), name, None)
    if model is None:
        return None
    if not isinstance(model, type) or not hasattr(model, "model_validate"):
        where = f"{type(worker).__name__}.{name}"
        if isinstance(model, type) and comes_from(model, "pydantic", "BaseModel"):
            raise EndpointLoadError(
                f"{where} is a model of pydantic 1; derive it from pydantic.BaseModel of pydantic "
                "2, and not from pydantic.v1"
            )
        raise EndpointLoadError(f"{where} has to be a subclass of pydantic.BaseModel")
    return model


def details_of(error: ValidationError) -> list[dict[str, Any]]:
    """Return what is wrong with each field, as a client may read it."""
    details = []
    for item in error.errors(include_url=False, include_context=False)[:MAX_DETAILS]:
        shown = repr(item["input"]) if item["type"] != "missing" else None
        details.append(
            {
                "field": ".".join(str(part) for part in item["loc"]),
                "problem": NO_JSON if item["type"] == "needs_python_object" else item["msg"],
                "got": shown if shown is None or len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN],
            }
        )
    return details


def _sentence(details: list[dict[str, Any]]) -> str:
    first = details[0]
    where = f"{first['field']}: " if first["field"] else ""
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{where}{first['problem']}{more}"
