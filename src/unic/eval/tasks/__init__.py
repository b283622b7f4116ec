"""Tasks: measurements of frozen encoders, one file each. A file holds

- `run`: returns an `Outcome`. Its keyword-only arguments are the options of the task; `seed` is set by the runner.
- `VERSION`: version of a task in this folder. Raise it when scores change, so that finished cells are measured again. A
  test fails if scores change under the same version.
- `INPUT`: what `run` gets before the options. "vectors" (default): `train: Labelled, test: Labelled`. "dense":
  `train: Dense, test: Dense`. "subject": `subject: Subject`, one model on one set with all its features.
- `DATA`: the kind of set on which it runs: "labels" (default), "masks", "depth" or "any".
- `MEASURE`: how marks become a score (default: top-1).
- `ROLES`: the roles of the models to which it applies (default: all).
- `IS_RANDOM`: False if nothing is drawn, so that one outcome holds for all seeds.
- `READS_TEACHERS`: True if the subject comes with its teachers and heads, which are then part of the cell's key
  (default: True for a user's own task, False for a task in this folder).
- `LIVE`: modules by the value of the option `protocol` under which no feature is cached. For such a value `run` gets
  `train: Live, test: Live`, the images and their encoder, in place of `INPUT`. Each module has a `VERSION` of its own.
- `FILES`: the options that may name files, whose content is then part of the cell's key. A user's own task that opens
  files without this list is measured again each time.
- `CODE`: the options that may name a user's own module, whose trust is checked before anything is measured.
- `check(pair, options)`: raises `InputError` if the options do not suit a set, before anything is measured.
"""

from unic.errors import NotApplicableError
from unic.eval.outcome import TOP1, Dense, Labelled, Measure, Outcome, top1

__all__ = ["TOP1", "Dense", "Labelled", "Measure", "NotApplicableError", "Outcome", "top1"]
