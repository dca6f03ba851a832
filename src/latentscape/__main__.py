"""``python -m latentscape`` is the shell."""

from latentscape.cli import main

main()
