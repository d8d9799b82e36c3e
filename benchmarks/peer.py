"""Other software, measured beside this one: each in a process and an environment of its own (``peers/``)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "peers"


class Peer:
    """A process that runs one of the scripts of ``peers`` and waits for work.

    Attributes:
        process: its number.
        versions: packages that it runs on.
    """

    def __init__(self, python: Path, script: str, config: Mapping[str, Any], **environment: str) -> None:
        """Start it.

        Args:
            python: interpreter of the environment that the peer is installed in.
            script: name of the script, such as ``"paddlex"``.
            config: what it is started with.
            environment: variables on top of this process's.

        Raises:
            RuntimeError: it ended before it was ready.
        """
        command = [str(python), str(FOLDER / f"run_{script}.py"), json.dumps(config)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.process = self._process.pid
        try:
            self.versions: dict[str, str] = self._answer()
        except BaseException:
            self.close()
            raise

    def ask(self, **request: Any) -> Any:
        """Let it do some work and wait for the answer.

        Raises:
            RuntimeError: it ended.
        """
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        """The next line that is an answer; the peer may print others."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                return json.loads(line.removeprefix("ANSWER "))
        raise RuntimeError(f"ended with {self._process.wait()}; run it by hand to see why: {self._process.args!r}")

    def close(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
