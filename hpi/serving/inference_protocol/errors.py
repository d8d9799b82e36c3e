"""Errors as the protocol has them."""

from __future__ import annotations

import json
from http import HTTPStatus

from starlette.responses import Response

from hpi.serving.limits import RequestError

PREFIX = "/v2"
"""Where the routes of the protocol begin."""

_BAD_REQUESTS = {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
"""Statuses of other routes for requests that are wrong, all of which are 400 in the protocol."""

_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def bad_request(message: str) -> RequestError:
    """The error for a request that does not follow the protocol, or not the model's metadata.

    Example:
        >>> error = bad_request("outputs: 'people' is none of them")
        >>> int(error.status), str(error)
        (400, "outputs: 'people' is none of them")
    """
    return RequestError(HTTPStatus.BAD_REQUEST, message)


def is_of_protocol(path: str) -> bool:
    """Whether a path is of this protocol, so that its errors are too.

    Example:
        >>> is_of_protocol("/v2/models/pose"), is_of_protocol("/v2"), is_of_protocol("/v2pose")
        (True, True, False)
    """
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def http_status(status: int) -> int:
    """The protocol's HTTP status for that of another route.

    Example:
        >>> http_status(422), http_status(503)
        (400, 503)
    """
    return HTTPStatus.BAD_REQUEST.value if status in _BAD_REQUESTS else status


def grpc_code(status: int) -> str:
    """The name of the gRPC status code for an HTTP status.

    Example:
        >>> grpc_code(422), grpc_code(503), grpc_code(500)
        ('INVALID_ARGUMENT', 'UNAVAILABLE', 'INTERNAL')
    """
    return _CODES.get(http_status(status), "INTERNAL")


def shown_message(status: int, message: str, log_id: str) -> str:
    """The text that a client gets; of an internal error also where the log has the rest.

    Example:
        >>> shown_message(500, "Internal server error", "1"), shown_message(404, "no such route", "1")
        ('Internal server error (logId 1)', 'no such route')
    """
    return f"{message} (logId {log_id})" if status == HTTPStatus.INTERNAL_SERVER_ERROR else message


def error_response(status: int, message: str, headers: dict[str, str]) -> Response:
    """The answer to an error over HTTP.

    Example:
        >>> error_response(422, "the image: the file is empty", {}).body
        b'{"error":"the image: the file is empty"}'
    """
    content = json.dumps({"error": message}, separators=(",", ":"))
    return Response(content, http_status(status), headers, media_type="application/json")
