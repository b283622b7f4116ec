"""The command line: each command calls `unic.api`. Commands import what is heavy inside, so `--help` is quick."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import typer

from unic._once import Once
from unic.cli import check, distill, evaluate, images, init, lists, results, sweep
from unic.cli.options import options
from unic.cli.screen import fail
from unic.errors import INTERRUPTED, InputError, UnicError, exit_code_of
from unic.signals import StoppedBySignal, orderly_end

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Distil several pretrained vision encoders into one, measure it, ship it as a plain timm model.",
)
COMMANDS: dict[str, Callable[..., None]] = {
    "distill": distill.distill,
    "init": init.init,
    "schema": init.schema,
    "check": check.check,
    "sweep": sweep.sweep,
    "eval": evaluate.evaluate,
    "report": results.report,
    "export": results.export,
    "encode": images.encode,
    "shard": images.shard,
    "synthesise": images.synthesise,
    "list": lists.list_names,
}
"""In the order of `unic --help`."""

app.callback(invoke_without_command=True)(options)
for _name, _command in COMMANDS.items():
    app.command(_name, cls=Once)(_command)


def main() -> None:
    """Runs a command. An error is one line on stderr, with the exit code of its class in `unic.errors`.

    SIGINT, SIGTERM and SIGHUP end a command that has nothing to save with 128 plus the signal's number.
    """
    logging.captureWarnings(True)  # libraries' warnings go to train.log, not into the live line
    try:
        with orderly_end():
            if app(standalone_mode=False) == INTERRUPTED:  # newer typers turn an interrupt into this
                raise KeyboardInterrupt
    except StoppedBySignal as end:
        fail("stopped", int(str(end.code)))
    except UnicError as error:
        fail(str(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        fail("stopped", INTERRUPTED)
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "format_message"):
            fail(error.format_message(), InputError.exit_code)
        if os.environ.get("UNIC_DEBUG"):
            raise
        if isinstance(error, OSError) and error.strerror:  # an error of the machine: a disk, a missing file
            fail(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror}", exit_code_of(error))
        if isinstance(error, MemoryError):
            fail("out of memory", exit_code_of(error))
        fail(f"{type(error).__name__}: {error} (UNIC_DEBUG=1 shows where)", exit_code_of(error))
