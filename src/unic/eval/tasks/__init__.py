"""Probes on frozen vectors. A task is one file with `run(train, test, *, seed, **options) -> Outcome`."""

from unic.eval.tasks.base import Labelled, Outcome

__all__ = ["Labelled", "Outcome"]
