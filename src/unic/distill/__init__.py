"""Earlier name of the package `unic.training`; `unic.distill` is the function. It goes with the release after 0.1."""
