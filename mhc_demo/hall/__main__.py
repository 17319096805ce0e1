"""`python -m mhc_demo.hall`: a process with a share of the visitors; `check.py` starts it."""

from .crowd import main

main()
