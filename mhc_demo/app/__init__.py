"""The page: Panel around the figures.  Delete this folder and a good library is left."""

from .explorer import Explorer

__all__ = ["Explorer"]
