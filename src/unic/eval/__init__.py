"""Measuring frozen encoders: data sets, tasks, suites, intervals, the table."""
