"""The groups of views, each with the question that it answers: doors of the page and of a site."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

QUESTIONS = {
    "Signal": "What becomes of a signal on its way through the layers?",
    "Gain": "By what factor can it grow, layer after layer?",
    "Matrices": "What is inside the matrices that mix the streams?",
    "Mixing": "How alike do the streams become?",
    "Why it holds": "Which theorems are behind it, and which set of matrices?",
    "Compare": "What do other projections do, and where does it explode?",
    "Cost": "What does stability cost?",
    "Real models": "Is it so in a model that was trained?",
    "Training": "What does it do to a network while it learns?",
    "Formulas": "What exactly is computed?",
    "Take home": "What is true of what you have read, and where is this page?",
}
"""The groups of views in their order, each with the question that it answers."""


def groups(views: Iterable[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """The groups that have views, as `static/doors.js` takes them.

    `views` are names, titles and groups.
    """
    views = list(views)
    found = [
        {
            "title": title,
            "question": question,
            "views": [
                {"name": name, "title": called} for name, called, group in views if group == title
            ],
        }
        for title, question in QUESTIONS.items()
    ]
    return [group for group in found if group["views"]]
