"""`unic check`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unic import _completion
from unic.cli.screen import echo, stderr, stdout
from unic.cli.sources import typed_code
from unic.cli.words import TrustCode
from unic.errors import InputError


def check(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A YAML file, or the name of a shipped recipe (unic list recipes).", autocompletion=_completion.recipes
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Changes to the recipe, for example train.batch_size=512.",
            autocompletion=_completion.keys,
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Number of processes of the run, each on a device like this one.")
    ] = 1,
    price: Annotated[
        float | None, typer.Option(min=0, help="Price per hour of the whole job; adds a cost estimate.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Planned run folder; its disk is checked for free space.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    trust_code: TrustCode = None,
) -> None:
    """Pre-flight: models, images, memory, time and disk of a recipe, and what would fail later (exit code 2)."""
    import json

    from unic.recipe.schema import load_recipe

    settings = load_recipe(recipe, overrides or [])
    trusted = [*(trust_code or []), *typed_code(recipe, overrides or [])]
    from unic import api
    from unic.preflight.screen import render

    with stderr().status("checking"):
        found = api.check(
            settings, name=Path(recipe).stem, processes=processes, price=price, out=out, trust_code=trusted
        )
    if as_json:
        echo(json.dumps(found.to_json(), indent=1))
    else:
        stdout().print(render(found))
    if not found.is_ready:
        raise SystemExit(InputError.exit_code)
