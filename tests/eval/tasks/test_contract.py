"""What every task file must hold; a new one is tested the moment it exists."""

import inspect
import pickle

import numpy as np
import pytest

from unic import lookup
from unic.eval.entrants import ROLES
from unic.eval.tasks import TOP1

TASKS = lookup.names("unic.eval.tasks")
POSITIONAL = {"vectors": ["train", "test"], "dense": ["train", "test"], "subject": ["subject"]}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_what_it_takes_and_gives(name):
    task = lookup.module("unic.eval.tasks", name)
    assert lookup.first_line(task).endswith((".", ")")), "the first line of `unic list tasks`"
    parameters = inspect.signature(task.run).parameters
    positional = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert positional == POSITIONAL[getattr(task, "INPUT", "vectors")]
    assert "seed" in parameters
    assert not {"task", "data", "tokens", "blocks"} & set(parameters), "the runner's own keys"
    assert getattr(task, "DATA", "labels") in ("labels", "masks", "depth", "any")
    assert set(getattr(task, "ROLES", ROLES)) <= set(ROLES)
    assert isinstance(getattr(task, "IS_RANDOM", True), bool)
    assert isinstance(task.VERSION, int)


@pytest.mark.parametrize("name", TASKS)
def test_a_measure_reduces_every_resample_and_can_be_sent(name):
    measure = getattr(lookup.module("unic.eval.tasks", name), "MEASURE", TOP1)
    again = pickle.loads(pickle.dumps(measure))
    assert again.name == measure.name
    means = np.random.default_rng(0).uniform(0.2, 0.8, (5, 30))
    scores = measure.reduce(means)
    assert scores.shape == (5,)
    assert scores[2] == pytest.approx(measure.reduce(means[2:3])[0])
