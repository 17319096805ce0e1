"""The mathematics: matrices, projections, gains, and the table that everything draws from.

It knows of no figure and no page, and imports nothing of ours from outside this folder.
"""
