"""A stream of frames over a WebSocket: each is answered with its people, and the newest frame wins."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from pydantic_core import from_json
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.frames import CloseCode

from hpi.errors import ConfigError
from hpi.instances import Frame
from hpi.serving.encoded import IMAGE_LABEL
from hpi.serving.fields import UnknownFields, validated, wrong
from hpi.serving.limits import MIB, Limit, Memory, Received, RequestError, too_late
from hpi.serving.metrics import Clock, Metrics
from hpi.serving.middleware import error_message, error_response
from hpi.serving.requests import check_origin, check_token
from hpi.serving.service import PoseRequest, PoseService, Timed
from hpi.serving.settings import Settings
from hpi.serving.stream_messages import FrameAnswer, FrameError, OptionsMessage, StreamPerson, stream_persons
from hpi.serving.tracing import current_trace
from hpi.tracking.base import Tracking
from hpi.tracking.smoothing import Smoother

ROUTE = "/stream"

PROTOCOL = "hpi"
"""The subprotocol that is chosen where a client offers it."""

PAUSE_S = 0.005
"""Pause after each message, in seconds: it bounds what a flood of small ones costs."""

SEND_S = 10
"""Time limit for a client to take an answer, or that the stream closes, in seconds."""

MAX_TEXT = 1 << 10
"""Size limit of a text message, in characters."""


class StreamHandler:
    """Opens WebSockets within the limits.

    Attributes:
        limit: of those that are open at a time.
    """

    def __init__(self, service: PoseService, settings: Settings, memory: Memory, metrics: Metrics) -> None:
        self._service = service
        self._settings = settings
        self._memory = memory
        self._metrics = metrics
        self._unknown_fields = UnknownFields()
        self.limit = Limit(settings.max_streams, "streams are open")
        metrics.watch("hpi_streams_open", "Open WebSockets.", lambda: self.limit.inside)

    def check(self, connection: HTTPConnection) -> None:
        """Check that a client may open a WebSocket now.

        Raises:
            RequestError: 401, 403 or 503: the token is wrong, it is the page of another origin, too many are open.
        """
        check_origin(connection, self._settings.cors_origins)
        check_token(connection, self._settings.token)
        self.limit.check()

    async def serve(self, socket: WebSocket) -> None:
        """Open a WebSocket, or refuse to, and answer its frames until it closes."""
        try:
            self.check(socket)
        except RequestError as error:
            await socket.send_denial_response(error_response(error, socket.scope["log_id"]))
            return
        with self.limit.admitted():
            await socket.accept(PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)
            stream = _Stream(socket, self._service, self._settings, self._memory, self._metrics, self._unknown_fields)
            with suppress(WebSocketDisconnect, asyncio.TimeoutError):  # the client is gone, or does not read
                await stream.run()


class _Close(NamedTuple):
    code: int
    reason: str


@dataclass(frozen=True)
class _Frame:
    """A frame that waits; ``arrived`` by the clock of this machine."""

    number: int
    time: float
    arrived: float
    body: Received


class _Stream:
    """One WebSocket: a task takes messages in and keeps the newest frame, another answers frames one by one."""

    def __init__(
        self,
        socket: WebSocket,
        service: PoseService,
        settings: Settings,
        memory: Memory,
        metrics: Metrics,
        unknown_fields: UnknownFields,
    ) -> None:
        self._socket = socket
        self._service = service
        self._settings = settings
        self._memory = memory
        self._metrics = metrics
        self._unknown_fields = unknown_fields
        self._name: str = socket.scope["log_id"]
        self._tracking = service.usual_tracking
        self._options = OptionsMessage(tracker=self._tracking.tracker)
        self._next_time: float | None = None
        self._smoother: Smoother | None = None
        self._job: Future[Timed] | None = None
        self._opened = monotonic()
        self._newest: _Frame | None = None
        self._arrived = asyncio.Event()
        self._ending = False
        self._frames = 0
        self._dropped = 0
        self._last_time = -1.0

    async def run(self) -> None:
        """Until it closes.

        Raises:
            WebSocketDisconnect: the client is gone.
            asyncio.TimeoutError: the client does not read.
        """
        reading, answering = asyncio.ensure_future(self._read()), asyncio.ensure_future(self._answer_frames())
        try:
            await asyncio.wait({reading, answering}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
            if close := reading.result():
                self._end()
                await answering
                await asyncio.wait_for(self._socket.close(*close), SEND_S)
        finally:
            self._end()
            reading.cancel()
            answering.cancel()
            # Before Python 3.12 wait_for may lose a cancellation, so another frame may still enter the models.
            await asyncio.gather(reading, answering, return_exceptions=True)
            self._drop_newest()
            if self._job is not None:
                self._job.add_done_callback(lambda _: self._service.end(self._name))

    def _end(self) -> None:
        """Answer no other frame than that in hand."""
        self._ending = True
        self._arrived.set()

    async def _read(self) -> _Close | None:
        """Take messages in; returns how to close in the end, None if the client is gone."""
        while True:
            try:
                message = await asyncio.wait_for(self._socket.receive(), self._settings.idle_s)
            except asyncio.TimeoutError:
                return _Close(CloseCode.POLICY_VIOLATION, f"no message within {self._settings.idle_s:g} s")
            if message["type"] == "websocket.disconnect":
                stops = message["code"] == CloseCode.SERVICE_RESTART
                return _Close(CloseCode.SERVICE_RESTART, "the service stops") if stops else None
            data = message.get("bytes")
            try:
                if data is None:
                    self._set_options(message["text"])
                else:
                    self._take(data)
            except RequestError as error:
                await self._refuse(error, None if data is None else self._frames - 1)
            await asyncio.sleep(PAUSE_S)

    def _set_options(self, text: str) -> None:
        if len(text) > MAX_TEXT:
            raise wrong("string_too_long", "message", f"Send at most {MAX_TEXT} characters of text")
        try:
            content = from_json(text)
        except ValueError as error:
            message = f"Send images as binary messages, options as JSON: {error}"
            raise wrong("json_invalid", "message", message) from error
        if isinstance(content, dict):
            self._unknown_fields.check("message", content, OptionsMessage.model_fields)
        given = validated(OptionsMessage, content, "message").model_dump(exclude_unset=True)
        self._next_time = given.pop("time", None)
        if given:
            self._choose(self._options.model_copy(update=given))

    def _choose(self, options: OptionsMessage) -> None:
        if self._frames:
            raise wrong("too_late", "message", "Send options before the first frame, or open another WebSocket")
        if options.smooth is not None and options.tracker is None:
            raise wrong("value_error", "message.smooth", "Keypoints are smoothed of people who are followed")
        visible = self._service.skeleton.visible_above
        try:
            tracking = Tracking(options.tracker, options.detEvery)
            smoother = None if options.smooth is None else Smoother(options.smooth, lowest_score=visible)
            self._service.prepare(tracking)
        except ConfigError as error:
            raise wrong("value_error", "message", str(error)) from error
        self._options, self._tracking, self._smoother = options, tracking, smoother

    def _take(self, data: bytes) -> None:
        """Keep a frame, in the place of one that still waits."""
        number, self._frames = self._frames, self._frames + 1
        arrived = monotonic()
        time = arrived - self._opened if self._next_time is None else self._next_time
        self._next_time = None
        if time <= self._last_time:
            raise wrong("not_later", "message.time", f"Give a time after that of the last frame, {self._last_time:g} s")
        body = Received(int(self._settings.max_frame_mb * MIB), self._memory)
        body.add(data)
        self._drop_newest()
        self._newest = _Frame(number, time, arrived, body)
        self._last_time = time
        self._arrived.set()

    def _drop_newest(self) -> None:
        if self._newest is not None:
            self._newest.body.clear()
            self._newest = None
            self._dropped += 1
            self._metrics.stream_drops.inc()

    async def _answer_frames(self) -> None:
        while await self._arrived.wait() and not self._ending:
            self._arrived.clear()
            frame, self._newest = self._newest, None
            assert frame is not None
            try:
                with self._traced(frame.number):
                    answer = await self._answer(frame)
            except Exception as error:  # noqa: BLE001 - it is the answer, and the stream goes on
                await self._refuse(error, frame.number)
            else:
                await self._send(answer)
            finally:
                frame.body.clear()

    def _traced(self, number: int) -> AbstractContextManager[None]:
        """A frame has a trace of its own, since one of a stream of hours would be too long to read."""
        trace = current_trace()
        return nullcontext() if trace is None else trace.part("frame", {"hpi.frame": number})

    async def _answer(self, frame: _Frame) -> FrameAnswer:
        clock = Clock(self._metrics)
        try:
            persons = await asyncio.wait_for(self._find(frame, clock), self._settings.deadline_s)
        except asyncio.TimeoutError as error:
            raise too_late(self._settings.deadline_s) from error
        total = round(1000 * (monotonic() - frame.arrived), 2)
        return FrameAnswer(
            frame=frame.number,
            time=frame.time,
            dropped=self._dropped,
            milliseconds={**clock.milliseconds(), "total": total},
            persons=persons,
            errorCode=0,
        )

    async def _find(self, frame: _Frame, clock: Clock) -> list[StreamPerson]:
        data, service = frame.body.content, self._service
        with self._memory.held(await service.size(data, IMAGE_LABEL)):
            image = await service.decode(data, clock)
            await self._leave_models()
            placed = Frame(image, index=frame.number, time_s=frame.time, stream=self._name)
            self._job = service.submit(PoseRequest(placed, self._options.detThreshold, self._tracking))
            people = await service.outcome(self._job, clock)
        return stream_persons(people, None if self._smoother is None else self._smoother.update(people, frame.time))

    async def _leave_models(self) -> None:
        """Wait for a frame that was given up after it had entered the models."""
        if self._job is not None and not self._job.done():
            with suppress(Exception):
                await asyncio.wrap_future(self._job)

    async def _refuse(self, error: Exception, frame: int | None) -> None:
        message, _ = error_message(error, self._name)
        await self._send(FrameError(frame=frame, **message.model_dump()))

    async def _send(self, answer: FrameAnswer | FrameError) -> None:
        if not (isinstance(answer, FrameError) and answer.frame is None):
            self._metrics.stream_frames.labels(str(answer.errorCode or 200)).inc()
        await asyncio.wait_for(self._socket.send_text(answer.model_dump_json(exclude_unset=True)), SEND_S)
