"""The story as text and states: scenes, formulas, glossary, claims.  No Bokeh, no Panel."""

TITLE = "mHC: why stacked mixing explodes, and what stops it"
"""Of the page and, if it is given no other, of the standalone file."""
