"""The public API: a function for each task. The command line only calls these functions."""

from __future__ import annotations

from unic.api.distilling import check, distill, dry_run
from unic.api.evaluating import evaluate, results_files
from unic.api.exporting import export
from unic.api.images import encode, open_source, shard, synthesise
from unic.api.reporting import compare, report
from unic.api.sweep_table import sweep_summaries, sweep_table, write_sweep_table
from unic.api.sweeping import code_in_asked, sweep, sweep_plan
from unic.encoders import Encoder, load_encoder
from unic.errors import InputError
from unic.eval.results.schema import Results
from unic.recipe.schema import Recipe
from unic.tokens import Tokens

__all__ = [
    "Encoder", "InputError", "Recipe", "Results", "Tokens", "check", "code_in_asked", "compare", "distill", "dry_run",
    "encode", "evaluate", "export", "load_encoder", "open_source", "report", "results_files", "shard", "sweep",
    "sweep_plan", "sweep_summaries", "sweep_table", "synthesise", "write_sweep_table",
]  # fmt: skip
