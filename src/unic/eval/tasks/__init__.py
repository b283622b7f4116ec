"""Measurements of frozen encoders, one file each. A file holds

- `run`: keyword-only arguments are the task's options (`seed` is the runner's), and it returns an `Outcome`;
- `VERSION`: of a task in this folder, raised when its numbers change, so that its finished cells are measured again
  (a test says when that is due);
- `INPUT`: what `run` gets before the options. "vectors" (default): `train: Labelled, test: Labelled`. "dense":
  `train: Dense, test: Dense`. "subject": `subject: Subject`, one model on one set with everything it can give;
- `DATA`: the kind of set it runs on, "labels" (default), "masks", "depth" or "any";
- `MEASURE`: how marks become a score (default: top-1);
- `ROLES`: the roles of the models it is for (default: all);
- `IS_RANDOM`: False where nothing is drawn: one outcome then stands for all seeds;
- `READS_TEACHERS`: whether a subject comes with its teachers and heads, which then decide as well (default: True for a
  task of one's own, False for one in this folder);
- `FILES`: the options that may name files, whose content then decides as well. A task of one's own that opens files and
  does not say which is measured anew each time;
- `CODE`: the options that may name a module of one's own; whether it is trusted is asked before anything is measured;
- `check(pair, options)`: raises `InputError` where the options do not suit a set, before anything is measured.
"""

from unic.errors import NotApplicableError
from unic.eval.outcome import TOP1, Dense, Labelled, Measure, Outcome, top1

__all__ = ["TOP1", "Dense", "Labelled", "Measure", "NotApplicableError", "Outcome", "top1"]
