"""Attacks on the server: hostile requests, links and messages, and what they achieve.

The server is real, but there is no browser, because none would send this.  Whatever arrives, the
server survives, other visitors are served, nothing is repeated as markup, and the log stays short:
no traceback, and at most one line for a message.  The links and messages are drawn with a fixed
seed; `--long` draws many more.  Nothing here reaches another host.
"""

import pytest

pytest.register_assert_rewrite(f"{__name__}.visitor")
