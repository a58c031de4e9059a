"""`INPUT` and `OUTPUT`: pydantic models that say what an endpoint takes and gives.

Without them nothing here runs, and pydantic is not imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from basic_inference_server.core.errors import BadInput, EndpointError
from basic_inference_server.worker.load_error import EndpointLoadError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from basic_inference_server.worker.flask_worker import FlaskWorker

# What the engine reads of a request; a model that forbids extra fields need not name them.
ENGINE_FIELDS = frozenset({"SIGNATURE", "BASE64_KEYS", "BASE64_OUTPUTS", "ENCODING"})
MAX_DETAILS = 20
MAX_SHOWN = 80

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
        try:
            return model.model_validate(fields)
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
    from pydantic import ValidationError  # noqa: PLC0415 - only for endpoints that use it

    def write(result: Any) -> Any:
        try:
            return model.model_validate(result, from_attributes=True).model_dump()
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
    if not (isinstance(model, type) and hasattr(model, "model_validate")):
        raise EndpointLoadError(
            f"{type(worker).__name__}.{name} has to be a subclass of pydantic.BaseModel"
        )
    return model


def details_of(error: ValidationError) -> list[dict[str, Any]]:
    """Return what is wrong with each field, as a client may read it."""
    details = []
    for item in error.errors(include_url=False, include_context=False)[:MAX_DETAILS]:
        shown = repr(item["input"]) if item["type"] != "missing" else None
        details.append(
            {
                "field": ".".join(str(part) for part in item["loc"]),
                "problem": item["msg"],
                "got": shown if shown is None or len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN],
            }
        )
    return details


def _sentence(details: list[dict[str, Any]]) -> str:
    first = details[0]
    where = f"{first['field']}: " if first["field"] else ""
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{where}{first['problem']}{more}"
