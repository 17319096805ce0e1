"""`mhc-demo serve` with a fault in it: Shuffle raises."""

import sys

from mhc_demo.app.state import State
from mhc_demo.cli import main


def shuffle(self: State) -> None:
    raise KeyError("a fault of ours")


State.shuffle = shuffle  # type: ignore[method-assign]
sys.exit(main(["serve", *sys.argv[1:]]))
