"""`python -m unic`: the command line, for launchers that start modules."""

from unic.cli import main

main()
