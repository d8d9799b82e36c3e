"""Adding routes to the application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.responses import Response

Endpoint = TypeVar("Endpoint", bound=Callable[..., Awaitable[Response]])


def add_get(app: FastAPI, path: str, **documented: Any) -> Callable[[Endpoint], Endpoint]:
    """Add a route for GET, and for HEAD, whose body the server leaves out.

    Args:
        app: the application.
        path: of the route.
        **documented: arguments of :meth:`fastapi.FastAPI.get`, with a ``summary``.

    Returns:
        A decorator for the endpoint.

    Example:
        >>> app = FastAPI()
        >>> @add_get(app, "/alive", summary="Whether it is alive")
        ... async def alive() -> Response:
        ...     return Response()
        >>> sorted(method for route in app.routes if route.path == "/alive" for method in route.methods)
        ['GET', 'HEAD']
    """

    def add(endpoint: Endpoint) -> Endpoint:
        app.get(path, **documented)(endpoint)
        answers = documented.get("responses", {})
        statuses = {status: {"description": answers[status]["description"]} for status in answers}
        summary = f"{documented['summary']}, without the body"
        app.head(
            path,
            response_class=Response,
            responses=statuses,
            summary=summary,
            dependencies=documented.get("dependencies"),
            openapi_extra=documented.get("openapi_extra"),
        )(endpoint)
        return endpoint

    return add
