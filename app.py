"""What `panel serve app.py` runs."""

from mhc_demo.app.page import create

create().servable()
