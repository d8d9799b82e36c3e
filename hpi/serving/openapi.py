"""What ``/openapi.json`` says about requests and answers that FastAPI cannot see."""

from __future__ import annotations

from typing import Any

from hpi.compat.paddlex.http import InferRequest, Message, Options

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="  # a whole PNG
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_OPTIONS = Options.model_json_schema()["properties"]
_FORM = {
    "type": "object",
    "properties": {
        "image": {"type": "string", "format": "binary", "description": "The image file; may be called file as well."},
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
            "description": "Keep people that score above it; for a body that does not say it itself.",
            "schema": {"type": "number", "minimum": 0, "maximum": 1},
        },
        {
            "name": "visualize",
            "in": "query",
            "description": "Also answer a picture; for a body that does not say it itself. For one that is an image or "
            "a form, the default is false.",
            "schema": {"type": "boolean"},
        },
        {
            "name": "Content-Encoding",
            "in": "header",
            "description": "How the body is compressed; the limit of its size holds for what comes out.",
            "schema": {"type": "string", "enum": ["identity", "gzip", "deflate"]},
        },
    ],
}

_REASONS = {
    401: "The token is missing or wrong.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "Neither JSON nor an image nor a form, or a compression that is not known.",
    422: "Not an image, too many pixels, a field is wrong, or a URL that is not fetched.",
    500: "The service is at fault; its log tells more under the same logId.",
    503: "Busy; see Retry-After.",
    504: "Not done in time.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers with these statuses, for a route; without any: those of a request for people."""
    return {status: {"model": Message, "description": _REASONS[status]} for status in statuses or _REASONS}
