"""What the hall saw, as a table on a terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from .check import Found
from .visitor import Opening


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so large a share of them does not exceed; None if there are none.

    >>> quantile([3.0, 1.0, 2.0], 0.5), quantile([1.0, 2.0], 0.95), quantile([], 0.5)
    (2.0, 2.0, None)
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def singled_out(found: Found) -> dict[str, Opening]:
    """The openings of the first visitor, the middle one and the last."""
    by_number = {each.number: each for each in found.openings}
    last = found.plan.visitors
    numbers = dict.fromkeys((1, (last + 1) // 2, last))
    return {
        f"visitor {number}": by_number.get(number - 1, Opening(number - 1, why_not="unknown"))
        for number in numbers
    }


def failures(found: Found) -> str:
    """What failed and why, with how often it did; empty if nothing failed."""
    given = [f"an opening: {each.why_not}" for each in found.openings if each.why_not]
    given += found.unseen
    given += [f"a change: {each.why}" for each in found.changes if each.seconds is None]
    given += [f"a connection was ended {how}" for how in found.lost]
    return "; ".join(f"{times} times {why}" for why, times in Counter(given).most_common())


def account(found: Found) -> str:
    """All of it, in lines."""
    return "\n".join(_lines(found))


def _lines(found: Found) -> Iterator[str]:
    plan, served = found.plan, found.served
    yield (
        f"{len(served)} of {plan.visitors} openings served, the last "
        f"{found.opening_took:.3g} s after the first visitor came"
    )
    if why := failures(found):
        yield f"failed: {why}"
    anew = sum(each.anew for each in found.openings)
    if found.resumed or anew:
        yield (
            f"silence: pages connected again {found.resumed} times, and were opened anew {anew} "
            f"times before they had a connection"
        )
    yield ""
    yield _row("seconds until", "first bytes", "first picture")
    for name, opening in singled_out(found).items():
        yield _row(name, opening.first_bytes, opening.picture)
    firsts = [each.first_bytes for each in served if each.first_bytes is not None]
    pictures = [each.picture for each in served if each.picture is not None]
    for name, share in (("median", 0.5), ("95th percentile", 0.95), ("longest", 1.0)):
        yield _row(name, quantile(firsts, share), quantile(pictures, share))
    yield ""
    yield _said("longest silence", f"{1e3 * found.silence_opening:.3g} ms while visitors came")
    if found.first_opening and found.second_opening:
        sizes = [each.received / 1e3 for each in (found.first_opening, found.second_opening)]
        yield _said("bytes", "{:,.0f} kB the first opening, {:,.0f} kB the second".format(*sizes))
    if found.processor_each is not None:
        yield _said("processor", f"{found.processor_each:.3g} s of the server for each opening")
    if found.memory_each is not None:
        yield _said("memory", f"{found.memory_each:.3g} MB of the server for each live page")
    if not plan.alone:
        yield _said("live pages", f"{found.live} when the last visitor had come")
    if found.joined:
        half, most = (quantile(found.joined, share) or 0.0 for share in (0.5, 0.95))
        yield _said(
            "those wanted",
            f"{len(found.joined)}: {half:.3g} s median, {most:.3g} s 95th percentile",
        )
    if found.players:
        answered = found.answered
        yield _said(
            "changes",
            f"{len(answered)} of {len(found.changes)} answered, "
            f"{len(answered) / plan.play:.3g} a second, by {found.players} visitors",
        )
        if answered:
            half, most = (1e3 * (quantile(answered, share) or 0.0) for share in (0.5, 0.95))
            yield _said("a change", f"{half:.3g} ms median, {most:.3g} ms 95th percentile")
        if found.processor_change is not None:
            spent = 1e3 * found.processor_change
            yield _said("processor", f"{spent:.3g} ms of the server for each change")
        yield _said("longest silence", f"{1e3 * found.silence_playing:.3g} ms while they played")
    if found.followed:
        yield from _lines_of_a_lecture(found)
    if found.full is not None:
        yield _said("ran out", ", ".join(found.full) or "nothing")
    yield _said("the visitors", f"took {found.own_processor:.3g} s of processor themselves")


def _lines_of_a_lecture(found: Found) -> Iterator[str]:
    pages = sum(map(len, found.followed))
    yield _said(
        "scene changes",
        f"{len(found.followed)}, seen by {len(found.moved)} of {pages} pages that follow",
    )
    # Who did not see it counts as one who waits for ever.
    times = [each for change in found.followed for each in sorted_times(change)]
    half, most, last = (1e3 * (quantile(times, share) or 0.0) for share in (0.5, 0.95, 1.0))
    yield _said(
        "a scene change",
        f"{half:.3g} ms median, {most:.3g} ms 95th percentile, {last:.4g} ms longest",
    )
    worst = max((quantile(sorted_times(change), 0.95) or 0.0) for change in found.followed)
    yield _said("the slowest", f"reached 95 % of the pages after {1e3 * worst:.3g} ms")
    if found.processor_followed is not None:
        spent = 1e3 * found.processor_followed
        yield _said("processor", f"{spent:.3g} ms of the server for each page and change")
    yield _said("longest silence", f"{1e3 * found.silence_following:.3g} ms while they followed")


def sorted_times(change: Sequence[float | None]) -> list[float]:
    """The seconds until each page saw a change, in order; who did not see it waits for ever."""
    return sorted(math.inf if each is None else each for each in change)


def _row(name: str, *cells: str | float | None) -> str:
    texts = [each if isinstance(each, str) else _number(each) for each in cells]
    return f"{name:<18}" + "".join(f"{text:>15}" for text in texts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _said(name: str, text: str) -> str:
    return f"{name:<18}{text}"
