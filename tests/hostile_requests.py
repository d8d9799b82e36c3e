"""Requests of the Open Inference Protocol that are right, and ones that something has happened to."""

from __future__ import annotations

import copy
import gzip
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpi.serving.inference_protocol.messages import HEADER
from hpi.serving.inference_protocol.proto import message

ODD_VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 3, 255, 256, 1 << 31, 1 << 63, 1 << 64, 10**400, 0.5, -1e308, "", "image", "UINT8",
    "BYTES", "FP32", "boxes", "a" * 10_000, "\u202e", "\x00", [], {}, [[]], [{}], [[[[0]]]], {"binary_data_size": -1},
    {"binary_data_size": 1 << 70}, {"shared_memory_region": "a"}, [0] * 1000,
]  # fmt: skip
ODD_SHAPES = [[], [0], [1], [-1], [3, 3, 3], [1 << 62, 1 << 62, 3], [-1, -1, 3], [2**63 - 1], [1] * 100]
ODD_NAMES = ["", "image", "threshold", "boxes", "UINT8", "BYTES", "FP32", "uint8", "a" * 10_000, "\u202e", "\x00"]


@dataclass
class Sent:
    """What is sent, over HTTP or gRPC; ``right``: nothing has happened to it."""

    body: bytes
    right: bool
    headers: dict[str, str] = field(default_factory=dict)


class Requests:
    """Draws requests.

    Args:
        rng: where they come from.
        name: of the model.
        image: ``[H, W, 3]`` uint8.
        file: the content of its file.
    """

    def __init__(self, rng: np.random.Generator, name: str, image: np.ndarray, file: bytes) -> None:
        self._rng = rng
        self._name = name
        self._image = image
        self._file = file

    def over_http(self) -> Sent:
        """One over HTTP."""
        content, tail = self._json()
        change: Callable[[Any, bytes], Sent] = self._one_of(
            [
                self._unchanged,
                self._packed,
                self._with_odd_value,
                self._with_odd_tail,
                self._with_odd_header,
                self._noisy,
            ]
        )
        return change(content, tail)

    def over_grpc(self) -> Sent:
        """One over gRPC."""
        change: Callable[[Any], Sent] = self._one_of([self._unchanged_message, self._odd_message, self._noisy_message])
        return change(self._message())

    def _one_of(self, values: list[Any]) -> Any:
        return values[self._rng.integers(len(values))]

    def _flip(self) -> bool:
        return bool(self._rng.integers(2))

    def _json(self) -> tuple[dict[str, Any], bytes]:
        """A right request, and its binary data."""
        tail = b""
        if self._flip():
            one: dict[str, Any] = {"name": "image", "datatype": "UINT8", "shape": list(self._image.shape)}
            if self._flip():
                tail = self._image.tobytes()
            else:
                one["data"] = self._image.tolist() if self._flip() else self._image.ravel().tolist()
        else:
            one = {"name": "image", "datatype": "BYTES", "shape": [1]}
            if self._flip():
                tail = len(self._file).to_bytes(4, "little") + self._file
            else:
                one["data"] = [b64encode(self._file).decode()]
        if tail:
            one["parameters"] = {"binary_data_size": len(tail)}
        content: dict[str, Any] = {"inputs": [one]}
        if self._flip():
            content["inputs"].append({"name": "threshold", "datatype": "FP32", "shape": [1], "data": [0.5]})
        if self._flip():
            content["parameters"] = {"binary_data_output": self._flip(), "priority": 3}
        if self._flip():
            content["outputs"] = [{"name": name} for name in ("keypoints", "boxes", "scores")]
        return content, tail

    @staticmethod
    def _sent(content: Any, tail: bytes, *, right: bool) -> Sent:
        text = json.dumps(content).encode()
        return Sent(text + tail, right, {HEADER: str(len(text))} if tail else {})

    def _unchanged(self, content: Any, tail: bytes) -> Sent:
        return self._sent(content, tail, right=True)

    def _packed(self, content: Any, tail: bytes) -> Sent:
        sent = self._sent(content, tail, right=True)
        packed = gzip.compress(sent.body, 1)
        if broken := self._flip():
            packed = self._with_noise(packed)
        return Sent(packed, not broken, {**sent.headers, "Content-Encoding": "gzip"})

    def _with_odd_value(self, content: Any, tail: bytes) -> Sent:
        """Somewhere in the JSON is another value, or none."""
        place = content = copy.deepcopy(content)
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(min(len(place), 5)))
            key = self._one_of(keys)
            if not (isinstance(place[key], (dict, list)) and place[key] and self._rng.random() < 0.8):
                break
            place = place[key]
        if self._rng.random() < 0.2:
            del place[key]
        else:
            place[key] = self._one_of(ODD_VALUES)
        return self._sent(content, tail, right=False)

    def _with_odd_tail(self, content: Any, tail: bytes) -> Sent:
        odd = tail[: self._rng.integers(len(tail))] if tail and self._flip() else tail + self._rng.bytes(5)
        return self._sent(content, odd, right=False)

    def _with_odd_header(self, content: Any, tail: bytes) -> Sent:
        sent = self._sent(content, tail, right=False)
        length = self._one_of(
            ["", "-1", "0", "1e3", "9" * 30, "abc", str(len(sent.body) + 1), str(len(sent.body) // 2)]
        )
        return Sent(sent.body, right=False, headers={HEADER: length})

    def _noisy(self, content: Any, tail: bytes) -> Sent:
        sent = self._sent(content, tail, right=False)
        return Sent(self._with_noise(sent.body), right=False, headers=sent.headers)

    def _with_noise(self, data: bytes) -> bytes:
        """Data with bytes that are others, more or missing, mostly at the beginning."""
        noisy = bytearray(data)
        for _ in range(self._rng.integers(1, 6)):
            position = int(self._rng.integers(1 + min(len(noisy), self._one_of([60, 400, len(noisy)]))))
            kind = self._rng.integers(3)
            more = b"" if kind == 0 else self._rng.bytes(self._rng.integers(1, 9))
            noisy[position : position + (0 if kind == 1 else max(1, len(more)))] = more
        return bytes(noisy) if self._rng.random() < 0.8 else bytes(noisy[: self._rng.integers(1 + len(noisy))])

    def _message(self) -> Any:
        """A right message."""
        request = message("ModelInferRequest")(model_name=self._name, id="7")
        is_raw = self._flip()
        if self._flip():
            tensor = request.inputs.add(name="image", datatype="UINT8", shape=self._image.shape)
            if is_raw:
                request.raw_input_contents.append(self._image.tobytes())
            else:
                tensor.contents.uint_contents.extend(self._image.ravel().tolist())
        else:
            tensor = request.inputs.add(name="image", datatype="BYTES", shape=[1])
            if is_raw:
                request.raw_input_contents.append(len(self._file).to_bytes(4, "little") + self._file)
            else:
                tensor.contents.bytes_contents.append(self._file)
        if self._flip():
            tensor = request.inputs.add(name="threshold", datatype="FP32", shape=[1])
            if is_raw:
                request.raw_input_contents.append(np.array([0.5], "<f4").tobytes())
            else:
                tensor.contents.fp32_contents.append(0.5)
        if self._flip():
            for name in ("keypoints", "boxes", "scores"):
                request.outputs.add(name=name)
        return request

    @staticmethod
    def _unchanged_message(request: Any) -> Sent:
        return Sent(request.SerializeToString(), right=True)

    def _odd_message(self, request: Any) -> Sent:
        """A message with another value in one of its fields."""
        tensor = self._one_of(list(request.inputs))
        field = self._one_of(
            ["name", "datatype", "shape", "raw", "contents", "output", "model_name", "input", "parameter"]
        )
        if field in {"name", "datatype"}:
            setattr(tensor, field, self._one_of(ODD_NAMES))
        elif field == "shape":
            tensor.shape[:] = self._one_of(ODD_SHAPES)
        elif field == "raw":
            request.raw_input_contents.append(self._rng.bytes(self._rng.integers(10)))
        elif field == "contents":
            getattr(tensor.contents, self._one_of(["int_contents", "uint_contents", "int64_contents"])).append(7)
        elif field == "output":
            request.outputs.add(name=self._one_of(ODD_NAMES))
        elif field == "model_name":
            request.model_name = self._one_of(ODD_NAMES)
        elif field == "input":
            request.inputs.add(name=self._one_of(ODD_NAMES), shape=self._one_of(ODD_SHAPES))
        else:
            request.parameters[self._one_of(["shared_memory_region", "classification"])].int64_param = 1
        return Sent(request.SerializeToString(), right=False)

    def _noisy_message(self, request: Any) -> Sent:
        return Sent(self._with_noise(request.SerializeToString()), right=False)
