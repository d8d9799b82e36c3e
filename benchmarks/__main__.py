"""``python -m hpi.benchmarks NAME``."""

import typer

from hpi.benchmarks import coco_ap, selection

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.command("coco_ap")(coco_ap.main)
app.command("selection")(selection.main)
app.callback()(lambda: None)

if __name__ == "__main__":
    app(prog_name="python -m hpi.benchmarks")
