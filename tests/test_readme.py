"""The README's code, run as it stands there."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_s_code_runs_and_gives_the_shapes_it_says() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
        for line in block.splitlines():
            if claim := re.match(r"(?:(\w+) = )?([^#]+?)  # \((\d[\d, ]*)\)", line):
                name, expression, said = claim.groups()
                value = eval(name or expression, names)
                assert tuple(value.shape) == tuple(map(int, re.findall(r"\d+", said))), line
