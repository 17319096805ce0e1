"""Where `numerics/_torch.py` was, for code that still looks for it here."""

from .._torch import in_backward as in_backward
from .._torch import version as version
