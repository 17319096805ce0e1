"""The icons on buttons, as SVG.  By their names they would come from a font of 129 kB."""


def _drawn(shapes: str) -> str:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="black" '
        f'stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round">{shapes}</svg>'
    )


def _dots(*centres: tuple[int, int]) -> str:
    return "".join(
        f'<circle cx="{x}" cy="{y}" r="1.2" fill="black" stroke="none"/>' for x, y in centres
    )


DIE = _drawn(
    '<rect x="3.5" y="3.5" width="17" height="17" rx="3"/>'
    + _dots((8, 8), (16, 8), (12, 12), (8, 16), (16, 16))
)
BACK = _drawn('<path d="M5 12.5a7 7 0 1 0 2.3-5.2L5 9.5"/><path d="M5 4.5v5h5"/>')
START = _drawn('<path d="M8 5.5v13l10-6.5z" fill="black"/>')
STOP = _drawn('<rect x="6.5" y="6.5" width="11" height="11" fill="black"/>')
TIMER = _drawn('<circle cx="12" cy="13.5" r="7.5"/><path d="M12 13.5V9.5M9.5 2.5h5"/>')
