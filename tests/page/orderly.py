"""Run a module's command line, and show who sends Bokeh's messages out of their order.

Panel writes to the websocket at once what changes within its `hold`, or queues it there if the
socket is busy.  A Bokeh model that is changed outside is written by Bokeh, at the end of its
callback: maybe before the message that brings that very model to the browser, which then reports
a "reference that isn't known", and drops the change.  On a machine with time to spare that is
never seen; here it is, always: with a trace in the server's log, which `serve` looks at.

With WITHOUT_PICTURE in the environment the first page has no picture of its own: tests that are not
about it need not wait until it is drawn and replaced.
"""

import os
import runpy
import sys
import traceback

from bokeh.server.connection import ServerConnection

sends = ServerConnection.send_patch_document


def shown(self, event):
    print("Bokeh sends this by itself:", event, file=sys.stderr)
    traceback.print_stack()
    return sends(self, event)


ServerConnection.send_patch_document = shown
if os.environ.get("WITHOUT_PICTURE"):
    from mhc_demo.app import first

    first.has_picture = lambda state: False  # type: ignore[assignment]
del sys.argv[0]
sys.path.insert(0, "")
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
