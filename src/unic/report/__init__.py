"""RUN/report.html: what a run reached, as one self-contained page without scripts, fonts or network."""

from unic.report.page import write_report

__all__ = ["write_report"]
