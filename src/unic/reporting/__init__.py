"""RUN/report.html: what a run reached, as one self-contained page without scripts, fonts or network; a page that
compares several runs; one of several trainings of a recipe; and one of a sweep.
"""

from unic.reporting.page import write_report
from unic.reporting.several.page import write_comparison
from unic.reporting.several.sweep import write_sweep
from unic.reporting.several.trainings import write_trainings

__all__ = ["write_comparison", "write_report", "write_sweep", "write_trainings"]
