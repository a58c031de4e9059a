"""Reads `SIGNATURE` out of a JSON body without building the rest of it."""

from __future__ import annotations

import msgspec

from basic_inference_server.core.errors import BadJson, MissingSignature


class _Peek(msgspec.Struct):
    SIGNATURE: str | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(_Peek).decode


def signature_of(body: bytes | bytearray) -> str:
    """Return the body's `SIGNATURE`.

    Raises:
        BadJson: the body is not a JSON object; the message gives the position.
        MissingSignature: there is none, or it is not a string.
    """
    try:
        signature = _decode(body).SIGNATURE
    except msgspec.ValidationError as error:
        if "$.SIGNATURE" in str(error):
            raise MissingSignature("SIGNATURE must be a string.") from error
        raise BadJson(f"The body must be a JSON object: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        where = "" if "byte" in str(error) else f" (byte {len(body)})"
        raise BadJson(f"The body is not valid JSON: {error}{where}.") from error
    except RecursionError as error:
        raise BadJson("The body is not valid JSON: it is nested too deeply.") from error
    if signature is msgspec.UNSET:
        raise MissingSignature('The body has no SIGNATURE; add "SIGNATURE": "<endpoint>".')
    return signature
