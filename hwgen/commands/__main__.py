"""``python -m hwgen.commands``: the command line, where the script ``hwgen`` is not on the path."""

from hwgen.commands import main

raise SystemExit(main())
