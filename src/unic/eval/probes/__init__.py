"""Parts of tasks that learn or compare: linear heads, regressions, similarities."""
