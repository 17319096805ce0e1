"""The story as text and states: scenes, formulas, glossary.  No Bokeh, no Panel."""
