"""``python -m xcontrast.cli``, where the command is not on the path."""

from xcontrast.cli import main

main()
