"""A service whose models fail on some images."""

ONE_BATCH = ("--objective", "latency")
"""Options with which no batch runs beside another, so that one can keep the others waiting."""

_FAILING = """
import os
import time
from pathlib import Path
import hpi.serving.protocol
import hpi.serving.stream
from hpi.pipelines.base import Pipeline
predict = Pipeline.run
def failing(pipeline, frames, **options):
    if any(frame.image.shape[1] == 33 for frame in frames):
        raise RuntimeError("the runtime failed at /secret/path")
    if any(frame.image.shape[1] == 34 for frame in frames):
        Path(os.environ["TEST_FOLDER"], "busy").touch()
        while Path(os.environ["TEST_FOLDER"], "held").exists():
            time.sleep(0.01)
    return predict(pipeline, frames, **options)
Pipeline.run = failing
{changes}
from hpi.cli import main
main()
"""


def failing_service(changes: str) -> str:
    """A script: the command line, with a pipeline that fails on images 33 pixels wide and blocks on those of 34.

    It blocks while there is a file ``held`` in the folder that ``TEST_FOLDER`` names, and makes a file ``busy`` there.

    Args:
        changes: further lines, such as shorter time limits.
    """
    return _FAILING.format(changes=changes)
