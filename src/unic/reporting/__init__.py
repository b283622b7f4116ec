"""RUN/report.html: what a run reached, as one self-contained page without scripts, fonts or network; a page that
compares several runs; and one of several trainings of a recipe.
"""

from unic.reporting.page import write_report
from unic.reporting.several.page import write_comparison
from unic.reporting.several.trainings import write_trainings

__all__ = ["write_comparison", "write_report", "write_trainings"]
