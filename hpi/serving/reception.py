"""One request, from its first byte to its result."""

from __future__ import annotations

from starlette.requests import Request

from hpi.fetch import is_url
from hpi.serving.limits import MIB, Door, Memory, Received
from hpi.serving.metrics import Clock
from hpi.serving.requests import Wish, content_kind, read_body, understand, while_waited_for
from hpi.serving.schema import InferResult, persons_of
from hpi.serving.service import Photo, PoseService, from_base64
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
        self.door = Door(settings.max_requests)

    async def result(self, request: Request, clock: Clock) -> InferResult:
        """Read a request and do what it wants.

        Raises:
            RequestError: it is not served, with the reason.
            InputError: its photo cannot be used.
        """
        kind = content_kind(request)
        self.door.check()  # before the whole body comes in
        body = Received(self._largest, self._memory)
        try:
            await read_body(request, body, self._settings.read_s)
            wish = understand(request, kind, body.content)
            with self.door.admitted():
                work = self._find(wish, body, clock)
                return await while_waited_for(request, work, self._settings.deadline_s)
        finally:
            body.clear()

    async def _find(self, wish: Wish, body: Received, clock: Clock) -> InferResult:
        if wish.photo is None:
            return await self._find_in(body.content, wish, clock)
        photo = Received(self._largest, self._memory)
        try:
            if is_url(wish.photo):
                await self._service.fetch(wish.photo, photo, clock)
            else:
                photo.add(from_base64(wish.photo))
            return await self._find_in(photo.content, wish, clock)
        finally:
            photo.clear()

    async def _find_in(self, data: bytearray, wish: Wish, clock: Clock) -> InferResult:
        service = self._service
        with self._memory.held(await service.size(data)):
            image = await service.decode(data, clock)
            found = await service.find(Photo(image, wish.threshold), clock)
            visualize = self._settings.visualize if wish.visualize is None else wish.visualize
            picture = await service.draw(image, found, clock) if visualize else None
        return InferResult(persons=persons_of(found), image=picture)
