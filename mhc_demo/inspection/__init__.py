"""A model's own mappings: read from a file or recorded, measured, drawn and saved.

`reading` takes files that may come from anybody; `measuring` makes one labelled table of what it
found, with the library's own functions; `report` is what a user holds; `diagnosis` looks for the
mistakes of a model that is at hand.
"""
