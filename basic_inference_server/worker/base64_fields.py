"""`BASE64_KEYS`, `BASE64_OUTPUTS` and `ENCODING`: fields that travel as base64 (RFC 4648).

A request may say which of its fields are base64; they reach the endpoint decoded, as text when
`ENCODING` names one (such as `utf-8`), else as bytes. It may also say which fields of the answer
shall be base64.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from basic_inference_server.core.errors import BadInput

CONTROL_FIELDS = ("BASE64_KEYS", "BASE64_OUTPUTS", "ENCODING")


def uses_base64(inputs: dict[str, Any]) -> bool:
    """Say whether the request asks for any of this."""
    return "BASE64_KEYS" in inputs or "BASE64_OUTPUTS" in inputs


def _names(inputs: dict[str, Any], field: str) -> list[str]:
    names = inputs.get(field, [])
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(f"{field} must be a list of field names.")
    return names


def _encoding(inputs: dict[str, Any]) -> str | None:
    encoding = inputs.get("ENCODING")
    if encoding is None:
        return None
    try:
        "".encode(encoding)  # also refuses what is no text encoding, such as "hex"
    except (LookupError, TypeError, ValueError):
        raise BadInput(f"ENCODING {encoding!r} is not a known text encoding.") from None
    return str(encoding)


def decode_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs with the fields that `BASE64_KEYS` names decoded.

    Raises:
        BadInput: a named field is missing, is not base64, or not text of `ENCODING`.
    """
    encoding = _encoding(inputs)
    decoded = dict(inputs)
    for name in _names(inputs, "BASE64_KEYS"):
        value = inputs.get(name)
        if not isinstance(value, str):
            raise BadInput(f"BASE64_KEYS names {name!r}, which is not a string of the request.")
        try:
            raw = base64.b64decode(value, validate=True)
            decoded[name] = raw if encoding is None else raw.decode(encoding)
        except (binascii.Error, ValueError) as error:
            raise BadInput(f"The field {name!r} cannot be decoded: {error}.") from None
    return decoded


def encode_outputs(inputs: dict[str, Any], result: Any) -> Any:
    """Return the result with the fields that `BASE64_OUTPUTS` names as base64 text.

    Raises:
        BadInput: the answer has no such field, or it is neither text nor bytes.
    """
    names = _names(inputs, "BASE64_OUTPUTS")
    if not names:
        return result
    encoding = _encoding(inputs) or "utf-8"
    answer = dict(result) if isinstance(result, dict) else {"data": result}
    for name in names:
        value = answer.get(name)
        if isinstance(value, str):
            try:
                value = value.encode(encoding)
            except UnicodeEncodeError as error:
                raise BadInput(
                    f"The field {name!r} of the answer is no text of ENCODING: {error}.",
                    executed="yes",
                ) from None
        if not isinstance(value, (bytes, bytearray)):
            raise BadInput(
                f"BASE64_OUTPUTS names {name!r}, which is no text of the answer.", executed="yes"
            )
        answer[name] = base64.b64encode(value).decode("ascii")
    return answer
