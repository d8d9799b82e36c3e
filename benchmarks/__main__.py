"""``python -m hpi.benchmarks NAME``."""

import typer

from hpi.benchmarks import (
    batch,
    batches,
    folder,
    grouping,
    int8,
    kernels,
    pipeline,
    published,
    regression,
    rtmlib,
    runtimes,
    scale,
    selection,
    serving,
    start,
    streams,
    tracking,
    versions,
    video,
    zoo,
)
from hpi.benchmarks.compare import command as compare

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.command("batch")(batch.main)
app.command("batches")(batches.main)
app.command("compare")(compare.main)
app.command("folder")(folder.main)
app.command("grouping")(grouping.main)
app.command("int8")(int8.main)
app.command("kernels")(kernels.main)
app.command("pipeline")(pipeline.main)
app.command("published")(published.main)
app.command("regression")(regression.main)
app.command("rtmlib")(rtmlib.main)
app.command("runtimes")(runtimes.main)
app.command("scale")(scale.main)
app.command("selection")(selection.main)
app.command("serving")(serving.main)
app.command("start")(start.main)
app.command("streams")(streams.main)
app.command("tracking")(tracking.main)
app.command("versions")(versions.main)
app.command("video")(video.main)
app.command("zoo")(zoo.main)
app.callback()(lambda: None)

if __name__ == "__main__":
    app(prog_name="python -m hpi.benchmarks")
