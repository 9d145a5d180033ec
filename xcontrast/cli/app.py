"""The application that commands are added to, and how it ends."""

from __future__ import annotations

import json
import math
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from typing import Any

import typer
from typer.core import TyperGroup

from xcontrast.errors import DataError, ModelError, SourceError, TrainingError

__all__ = ["app", "aside", "main", "tell"]

ORDER = (
    "demo", "collect", "pretrain", "embed", "fit", "finetune", "predict", "map", "reproduce",
    "info", "version",
)  # fmt: skip


class InOrder(TyperGroup):
    """Lists commands in the order in which they are used."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Give their names."""
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    cls=InOrder,
    name="xcontrast",
    help=(
        "From Sentinel-1/2 cubes to contrastive encoders, embeddings and maps.\n\n"
        "Words and defaults are those of the Python functions. Exit codes: 0 done, 1 not complete "
        "(run it again, it goes on), 2 something given was wrong. --json prints one JSON object "
        "on the standard output; progress goes to the standard error, a bar on a terminal and "
        "plain lines in a log (XCONTRAST_PROGRESS=0 shows none)."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def tell(facts: dict[str, Any], text: object, *, as_json: bool) -> None:
    """Print what came of a command.

    Parameters
    ----------
    facts : dict
        For machines: numbers, text, lists and dicts of them; NaN becomes null.
    text : object
        For people, as it prints.
    as_json : bool
        Which of the two.
    """
    print(json.dumps(_plain(facts), indent=2) if as_json else text)


def aside(*, as_json: bool) -> AbstractContextManager[object]:
    """Send what functions print to the standard error, if the output is to be one object alone."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def main() -> None:
    """Run the command line; errors of the person's making are told without a traceback."""
    try:
        app()
    except (DataError, ModelError, SourceError, TrainingError) as error:
        typer.secho(str(error), fg="red", err=True)
        raise SystemExit(2) from None
