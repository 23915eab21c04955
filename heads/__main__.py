"""`python -m heads` is `telltale`."""

import sys

from heads.commands.main import main

sys.exit(main())
