"""What every task file must hold; a new one is tested the moment it exists."""

import inspect
import pickle
from types import ModuleType

import numpy as np
import pytest

from unic import lookup
from unic.eval.entrants import ROLES
from unic.eval.outcome import TOP1
from unic.eval.task import Task

TASKS = lookup.names("unic.eval.tasks")
POSITIONAL = {"vectors": ["train", "test"], "dense": ["train", "test"], "subject": ["subject"]}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_what_it_takes_and_gives(name):
    module, task = lookup.module("unic.eval.tasks", name), Task.of(name)
    assert lookup.first_line(module).endswith((".", ")")), "the first line of `unic list tasks`"
    parameters = inspect.signature(task.run).parameters
    positional = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert positional == POSITIONAL[task.input]
    assert "seed" in parameters
    assert not {"task", "data", "tokens", "blocks"} & set(parameters), "the runner's own keys"
    assert task.data in ("labels", "masks", "depth", "any")
    assert set(task.roles or ROLES) <= set(ROLES)
    assert isinstance(task.is_random, bool)
    assert isinstance(module.VERSION, int)


@pytest.mark.parametrize("name", TASKS)
def test_a_measure_reduces_every_resample_and_can_be_sent(name):
    measure = Task.of(name).measure
    again = pickle.loads(pickle.dumps(measure))
    assert again.name == measure.name
    means = np.random.default_rng(0).uniform(0.2, 0.8, (5, 30))
    scores = measure.reduce(means)
    assert scores.shape == (5,)
    assert scores[2] == pytest.approx(measure.reduce(means[2:3])[0])


def test_a_task_of_a_user_s_own_that_says_nothing_has_the_defaults_of_the_documentation(monkeypatch):
    module = ModuleType("my_lab_tasks.silent")
    monkeypatch.setattr(lookup, "module", lambda *_: module)
    task = Task.of("my_lab_tasks.silent")
    assert (task.input, task.data, task.measure, task.roles) == ("vectors", "labels", TOP1, None)
    assert (task.is_random, task.reads_teachers, task.live, task.files, task.code) == (True, False, {}, None, ())
    module.INPUT, module.FILES = "subject", []
    assert (Task.of("my_lab_tasks.silent").reads_teachers, Task.of("my_lab_tasks.silent").files) == (True, ())
    assert (Task.of("silent").reads_teachers, Task.of("silent").files) == (False, ())
