"""`python -m mhc_demo.cli`."""

import sys

from . import main

sys.exit(main())
