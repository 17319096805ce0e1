"""Property tests draw the same examples on every run, and are never timed."""

from hypothesis import settings

settings.register_profile("mhc", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("mhc")
