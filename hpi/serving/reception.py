"""One request, from its first byte to its result."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from hpi.compat.paddlex.http import InferResult, persons_of
from hpi.serving.bodies import Kind, body_kind, read_body
from hpi.serving.forms import read_form
from hpi.serving.limits import MIB, Door, Memory, Received
from hpi.serving.metrics import Clock
from hpi.serving.requests import Understanding, Wish, while_waited_for
from hpi.serving.service import Photo, PoseService
from hpi.serving.settings import Settings


class Reception:
    """Takes requests in, within the limits, and hands their photos to the service.

    Attributes:
        door: counts who is inside.
    """

    def __init__(self, service: PoseService, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._memory = Memory(int(settings.max_memory_mb * MIB))
        self._largest = int(settings.max_body_mb * MIB)
        self._understanding = Understanding()
        self.door = Door(settings.max_requests)

    async def result(self, request: Request, clock: Clock) -> InferResult:
        """Read a request and do what it wants.

        Raises:
            RequestError: it is not served, with the reason.
            InputError: its photo cannot be used.
        """
        kind = body_kind(request)
        self.door.check()  # before the whole body comes in
        body = Received(self._largest, self._memory)
        try:
            await read_body(request, body, self._settings.read_s)
            wish = await self._understand(request, kind, body)
            body.become(b"" if isinstance(wish.image, str) else wish.image)
            with self.door.admitted():
                return await while_waited_for(request, self._find(wish, clock), self._settings.deadline_s)
        finally:
            body.clear()

    async def _understand(self, request: Request, kind: Kind, body: Received) -> Wish:
        if kind is not Kind.FORM:
            return self._understanding.of_body(request, kind, body.content)
        with self._memory.held(2 * len(body.content)):  # once in the parser, once out of it
            form = await asyncio.to_thread(read_form, request.headers["content-type"], body.content)
            return self._understanding.of_form(request, form)

    async def _find(self, wish: Wish, clock: Clock) -> InferResult:
        if not isinstance(wish.image, str):
            return await self._find_in(wish.image, wish, clock)
        fetched = Received(self._largest, self._memory)
        try:
            await self._service.fetch(wish.image, fetched, clock)
            return await self._find_in(fetched.content, wish, clock)
        finally:
            fetched.clear()

    async def _find_in(self, data: bytes | bytearray, wish: Wish, clock: Clock) -> InferResult:
        service = self._service
        with self._memory.held(await service.size(data, wish.label)):
            image = await service.decode(data, clock)
            found = await service.find(Photo(image, wish.threshold), clock)
            visualize = self._settings.visualize if wish.visualize is None else wish.visualize
            picture = await service.draw(image, found, clock) if visualize else None
        return InferResult(persons=persons_of(found), image=picture)
