"""A drawing of paths through the graph as one SVG that needs nothing else: columns of nodes, lines as strong as what goes over them."""

import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

Node = tuple[str, Hashable]  # what it is, "user" or "item", and which

WIDTH, HEIGHT = 190, 28  # of a node, in pixels
GAP, DROP, MARGIN = 110, 12, 24  # between columns, between nodes, around all
_HEAD = 78  # above the first node
_LETTERS = 25  # that a node has room for
_THICKEST, _THINNEST = 9.0, 0.8
_FONT = 'font-family="Helvetica, Arial, sans-serif"'
_FILL = {"user": "#dbe9f9", "item": "#fdebd0"}
_EDGE = {"user": "#2b6cb0", "item": "#b7791f"}


@dataclass(frozen=True)
class Drawing:
    """What is drawn.

    Parameters
    ----------
    title, subtitle : str
        Two lines above.
    columns : sequence of str
        Heads, from left to right.
    paths : sequence of (nodes, weight)
        A node for each column; lines that several paths share add up.
    labels : mapping of node to str
        What is written on a node.
    """

    title: str
    subtitle: str
    columns: Sequence[str]
    paths: Sequence[tuple[Sequence[Node], float]]
    labels: Mapping[Node, str]


def draw(drawing: Drawing) -> str:
    """Return the text of the SVG."""
    columns, lines = _nodes(drawing), _lines(drawing)
    tallest = max(map(len, columns), default=0)
    height = _HEAD + tallest * (HEIGHT + DROP) + MARGIN
    width = 2 * MARGIN + len(columns) * WIDTH + (len(columns) - 1) * GAP
    places = {(c, node): (_left(c), _top(n, len(nodes), tallest)) for c, nodes in enumerate(columns) for n, node in enumerate(nodes)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" {_FONT}>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{MARGIN}" y="28" font-size="16" font-weight="bold" fill="#1a202c">{_text(drawing.title)}</text>',
        f'<text x="{MARGIN}" y="46" font-size="12" fill="#4a5568">{_text(drawing.subtitle)}</text>',
        *(
            f'<text x="{_left(c) + WIDTH // 2}" y="{_HEAD - 8}" font-size="12" fill="#4a5568" text-anchor="middle">{_text(head)}</text>'
            for c, head in enumerate(drawing.columns)
        ),
        *_drawn_lines(lines, places, drawing.labels),
        *(_drawn_node(node, place, drawing.labels[node]) for (_, node), place in places.items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _nodes(drawing: Drawing) -> list[list[Node]]:
    """Return the nodes of each column, in the order of what goes over them."""
    through: list[dict[Node, float]] = [{} for _ in drawing.columns]
    for nodes, weight in drawing.paths:
        for column, node in zip(through, nodes, strict=True):
            column[node] = column.get(node, 0.0) + weight
    ordered = [sorted(column, key=lambda node, c=column: -c[node]) for column in through]  # type: ignore[misc]
    return _untangled(ordered, drawing.paths)


def _untangled(columns: list[list[Node]], paths: Sequence[tuple[Sequence[Node], float]]) -> list[list[Node]]:
    """Move nodes to the mean height of their neighbours, so that fewer lines cross; the largest column stays as it is."""
    fixed = max(range(len(columns)), key=lambda c: len(columns[c]), default=0)
    for c in [*range(fixed - 1, -1, -1), *range(fixed + 1, len(columns))]:
        beside = c + 1 if c < fixed else c - 1
        height = {node: n / max(1, len(columns[beside]) - 1) for n, node in enumerate(columns[beside])}
        sums: dict[Node, list[float]] = {node: [0.0, 0.0] for node in columns[c]}
        for nodes, weight in paths:
            sums[nodes[c]][0] += weight * height[nodes[beside]]
            sums[nodes[c]][1] += weight
        columns[c] = sorted(columns[c], key=lambda node, s=sums: s[node][0] / (s[node][1] or 1))  # type: ignore[misc]
    return columns


def _lines(drawing: Drawing) -> dict[tuple[int, Node, Node], float]:
    """Return what goes over each line from one column to the next."""
    found: dict[tuple[int, Node, Node], float] = {}
    for nodes, weight in drawing.paths:
        for c, (one, other) in enumerate(pairwise(nodes)):
            found[c, one, other] = found.get((c, one, other), 0.0) + weight
    return found


def _drawn_lines(
    lines: Mapping[tuple[int, Node, Node], float], places: Mapping[tuple[int, Node], tuple[int, int]], labels: Mapping[Node, str]
) -> list[str]:
    largest = max(lines.values(), default=1.0)
    found = []
    for (c, one, other), weight in sorted(lines.items(), key=lambda line: line[1]):
        (x, y), (end, end_y) = places[c, one], places[c + 1, other]
        x, y, end_y, bend = x + WIDTH, y + HEIGHT // 2, end_y + HEIGHT // 2, GAP // 2
        thick = _THINNEST + (_THICKEST - _THINNEST) * weight / largest
        found.append(
            f'<path d="M{x} {y} C{x + bend} {y} {end - bend} {end_y} {end} {end_y}" fill="none" stroke="#718096" stroke-opacity="0.55" '
            f'stroke-width="{thick:.1f}"><title>{_text(labels[one])} - {_text(labels[other])}: {weight:.3g}</title></path>'
        )
    return found


def _drawn_node(node: Node, place: tuple[int, int], label: str) -> str:
    (x, y), kind = place, node[0]
    round_corner = HEIGHT // 2 if kind == "user" else 4
    return (
        f'<g><title>{_text(kind)} {_text(label)}</title><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="{round_corner}" '
        f'fill="{_FILL[kind]}" stroke="{_EDGE[kind]}"/>'
        f'<text x="{x + WIDTH // 2}" y="{y + HEIGHT // 2 + 4}" font-size="12" fill="#1a202c" text-anchor="middle">'
        f"{_text(_shortened(label))}</text></g>"
    )


def _left(column: int) -> int:
    return MARGIN + column * (WIDTH + GAP)


def _top(n: int, of: int, tallest: int) -> int:
    """Return the upper edge of a node; shorter columns are centred."""
    return _HEAD + (2 * n + tallest - of) * (HEIGHT + DROP) // 2


def _shortened(label: str) -> str:
    """Cut a label to what fits; letters of Chinese, Japanese and Korean are twice as wide."""
    room, kept = _LETTERS, ""
    for letter in label:
        room -= 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if room < 0:
            return kept.rstrip() + "\u2026"
        kept += letter
    return label


def _text(words: str) -> str:
    """Escape text; what XML does not allow becomes a replacement character."""
    allowed = (c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000" else "\ufffd" for c in words)
    return escape("".join(allowed))
