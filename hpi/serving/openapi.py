"""What ``/openapi.json`` says about requests and answers that FastAPI cannot derive."""

from __future__ import annotations

from typing import Any

from hpi.compat.paddlex.http_protocol import InferRequest, Message, Options

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="  # a whole PNG
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_OPTIONS = Options.model_json_schema()["properties"]
_FORM = {
    "type": "object",
    "properties": {
        "image": {
            "type": "string",
            "format": "binary",
            "description": "The image file; the field may also be named file.",
        },
        "detThreshold": {**_OPTIONS["detThreshold"], "anyOf": _OPTIONS["detThreshold"]["anyOf"][:1]},
        "visualize": {"type": "boolean", "default": False},
    },
    "required": ["image"],
}

REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": InferRequest.model_json_schema(),
                "examples": {
                    "base64": {"value": {"image": _PIXEL, "detThreshold": 0.5, "visualize": False}},
                    "URL": {"value": {"image": "https://example.org/people.jpg"}},
                },
            },
            "multipart/form-data": {"schema": _FORM},
            "image/jpeg": _BINARY,
            "image/png": _BINARY,
            "application/octet-stream": _BINARY,
        },
    },
    "parameters": [
        {
            "name": "detThreshold",
            "in": "query",
            "description": "Keep people that score above it. Used if the body does not set it.",
            "schema": {"type": "number", "minimum": 0, "maximum": 1},
        },
        {
            "name": "visualize",
            "in": "query",
            "description": "Whether the answer includes a picture. Used if the body does not set it; the default for "
            "images and forms is false.",
            "schema": {"type": "boolean"},
        },
        {
            "name": "Content-Encoding",
            "in": "header",
            "description": "How the body is compressed. The size limit applies to the decompressed body.",
            "schema": {"type": "string", "enum": ["identity", "gzip", "deflate"]},
        },
    ],
}

REASONS = {
    401: "The token is missing or wrong.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is neither JSON nor an image nor a form, or its compression is unknown.",
    422: "Not an image, too many pixels, a wrong field, or a URL that cannot be fetched.",
    500: "Internal error; the log of the service has the details under the same logId.",
    503: "Busy; see Retry-After.",
    504: "The result was not ready in time.",
}
"""What the statuses of errors mean."""


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Descriptions of the answers with these statuses; by default, all that an image request may get.

    Example:
        >>> errors(401, 413)[413]["description"]
        'The body is too large.'
    """
    return {status: {"model": Message, "description": REASONS[status]} for status in statuses or REASONS}
