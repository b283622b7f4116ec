"""With `train.compile` student and projectors are compiled once, although each step has draws of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

COUNTED = """
import json, sys
import torch
from accelerate import Accelerator
from unic.recipe.schema import load_recipe
from unic.training import engine
from unic.training.build import build
from unic.training.step import batch_loss

graphs, counts, make = [], [], torch.compile


def counted(graph, inputs):
    graphs.append(1)
    return graph.forward


torch.compile = lambda *given, **options: make(*given, backend=counted)
draws = ["student.drop_path=0.5", "train.patch_share=0.5", "loss={cosine: 0.5, shift_equivariant: 0.5}"]
job = build(load_recipe(json.loads(sys.argv[1]), ["train.compile=true", *draws]), torch.device("cpu"))
teachers, batch = job.live_teachers(), job.first_batch(4)


def losses(model):
    for step in (1, 2, 3):
        loss = batch_loss(job, teachers, batch, step, model)
        loss.numerator.backward()
        counts.append(len(graphs))
        yield loss.terms.losses.detach()


eager = list(losses(job.distiller.train()))
compiled = list(losses(engine.prepare(job, Accelerator(cpu=True)).train()))
assert counts[:3] == [0, 0, 0] and counts[3] > 0, counts
assert counts[3:] == counts[3:4] * 3, counts  # one graph, or with older torch its pieces
torch.testing.assert_close(compiled, eager)
assert not torch.equal(eager[0], eager[1])  # the draws of a step are its own
"""


def test_student_and_projectors_are_compiled_once(recipe: dict[str, Any]) -> None:
    """In a process of its own, as what torch compiles stays in it."""
    command = [sys.executable, "-c", COUNTED, json.dumps(recipe)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
