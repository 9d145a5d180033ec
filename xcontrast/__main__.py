"""``python -m xcontrast``, where the command is not on the path."""

from xcontrast.cli import main

main()
