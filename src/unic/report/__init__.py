"""RUN/report.html: what a run reached, as one self-contained page without scripts, fonts or network; and a page that
compares several runs.
"""

from unic.report.comparison import write_comparison
from unic.report.page import write_report

__all__ = ["write_comparison", "write_report"]
