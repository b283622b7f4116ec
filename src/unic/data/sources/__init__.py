"""Image sources: `open_source(path)` picks the file of this package that can read it."""
