"""What `panel serve app.py` runs."""

from mhc_demo.app.guard import protect_own_server
from mhc_demo.app.page import create

protect_own_server()
create().servable(location=False)  # Panel's own URL parser fails on some links
