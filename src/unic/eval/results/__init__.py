"""Results of an evaluation: scores, intervals and comparisons, the schema of results.json, and its tables."""
