"""The commands of ``hpi``. Options without a command belong to PaddleX's command line."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hpi.cli import cache
from hpi.cli.command import Command, Debug
from hpi.cli.commands import (
    accuracy,
    batch,
    deploy,
    doctor,
    export,
    inspect,
    measure,
    predict,
    quantize,
    runtimes,
    serve,
)
from hpi.compat.paddledetection import command_line as paddledetection
from hpi.compat.paddlex import command_line as paddlex

PADDLEX = "paddlex"


class _Root(TyperGroup):
    """The commands; options without a command are passed to ``paddlex``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {name for option in self.get_params(ctx) for name in option.opts}
        if args and args[0].startswith("-") and args[0].partition("=")[0] not in own:
            args = [PADDLEX, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        found = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            known = {item.value for item in found}
            more = self.commands[PADDLEX].shell_complete(ctx, incomplete)
            found += [item for item in more if item.value not in known]
        return found


app = typer.Typer(
    cls=_Root,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Find people and their keypoints in images and videos.

    [bold]hpi predict people.jpg --save_path output[/] needs no network. [bold]hpi help COMMAND[/] explains a command.

    PaddleX's command line works too, [bold]hpi --pipeline NAME --input people.jpg --save_path output[/] and the like:
    [bold]hpi help paddlex[/].
    """
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"hpi-pose {installed('hpi-pose')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def models(debug: Debug = False) -> None:
    """List the models: input size, licence, accuracy, and whether they are on this machine."""
    from hpi.cli.models import show

    show()


def _command_names(ctx: typer.Context) -> list[str]:
    return list(ctx.find_root().command.commands)  # type: ignore[attr-defined]


def show_help(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]...", autocompletion=_command_names, show_default=False)
    ] = None,
) -> None:
    """Explain a command, such as [bold]hpi help predict[/] or [bold]hpi help cache list[/]."""
    top = context.find_root()
    top.command.main([*(command or []), "--help"], prog_name=top.info_name)


app.command(cls=Command, epilog=predict.EXAMPLES)(predict.predict)
app.command(cls=Command, epilog=batch.EXAMPLES)(batch.batch)
app.command(cls=Command)(runtimes.explain)
app.command(cls=Command)(runtimes.tune)
app.command(cls=Command, epilog=quantize.EXAMPLES)(quantize.quantize)
app.command(cls=Command)(accuracy.evaluate)
app.command("check-dataset", cls=Command)(accuracy.check_dataset)
app.command(cls=Command)(serve.serve)
app.command(cls=Command)(models)
app.command(cls=Command, epilog=inspect.EXAMPLES)(inspect.inspect)
app.command(cls=Command, epilog=doctor.EXAMPLES)(doctor.doctor)
app.add_typer(export.app, name="export")
app.add_typer(deploy.app, name="deploy")
app.add_typer(cache.app, name="cache")
app.command(cls=Command, context_settings=measure.PASSED_ON, add_help_option=False)(measure.benchmark)
app.command(cls=Command, context_settings=measure.PASSED_ON, add_help_option=False)(measure.compare)
app.command(PADDLEX, cls=Command, context_settings=paddlex.SETTINGS, epilog=paddlex.EXAMPLES)(paddlex.main)
app.add_typer(paddledetection.app, name="paddledetection")
app.command("help")(show_help)
