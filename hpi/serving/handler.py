"""One request, from its first byte to its result."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from hpi.compat.paddlex.http_protocol import InferResult, persons_of
from hpi.instances import Frame
from hpi.serving.bodies import Kind, body_kind, read_body
from hpi.serving.forms import read_form
from hpi.serving.limits import MIB, Limit, Memory, Received
from hpi.serving.metrics import Clock
from hpi.serving.requests import ImageRequest, RequestParser, until_done_or_gone
from hpi.serving.service import PoseRequest, PoseService
from hpi.serving.settings import Settings


class RequestHandler:
    """Reads requests within the limits, and passes their images to the service."""

    def __init__(self, service: PoseService, settings: Settings, memory: Memory, limit: Limit) -> None:
        self._service = service
        self._settings = settings
        self._memory = memory
        self._largest = int(settings.max_body_mb * MIB)
        self._parser = RequestParser()
        self._limit = limit

    async def result(self, request: Request, clock: Clock) -> InferResult:
        """Read a request, and find the people in its image.

        Args:
            request: the request, whose body has not been read.
            clock: records how long each stage takes.

        Raises:
            RequestError: the request is refused; the error has the status and the reason.
            InputError: the image cannot be used.
        """
        kind = body_kind(request)
        self._limit.check()  # before the whole body is received
        body = Received(self._largest, self._memory)
        try:
            await read_body(request, body, self._settings.read_s)
            parsed = await self._parse(request, kind, body)
            body.become(b"" if isinstance(parsed.image, str) else parsed.image)
            with self._limit.admitted():
                return await until_done_or_gone(request, self._fetch_and_find(parsed, clock), self._settings.deadline_s)
        finally:
            body.clear()

    async def _parse(self, request: Request, kind: Kind, body: Received) -> ImageRequest:
        if kind is not Kind.FORM:
            return self._parser.of_body(request, kind, body.content)
        with self._memory.held(2 * len(body.content)):  # one copy in the parser, one in its result
            form = await asyncio.to_thread(read_form, request.headers["content-type"], body.content)
            return self._parser.of_form(request, form)

    async def _fetch_and_find(self, parsed: ImageRequest, clock: Clock) -> InferResult:
        if not isinstance(parsed.image, str):
            return await self._find(parsed.image, parsed, clock)
        fetched = Received(self._largest, self._memory)
        try:
            await self._service.fetch(parsed.image, fetched, clock)
            return await self._find(fetched.content, parsed, clock)
        finally:
            fetched.clear()

    async def _find(self, data: bytes | bytearray, parsed: ImageRequest, clock: Clock) -> InferResult:
        service = self._service
        with self._memory.held(await service.size(data, parsed.label)):
            image = await service.decode(data, clock)
            people = await service.find(PoseRequest(Frame(image), parsed.threshold), clock)
            visualize = self._settings.visualize if parsed.visualize is None else parsed.visualize
            picture = await service.draw(image, people, clock) if visualize else None
        return InferResult(persons=persons_of(people), image=picture)
