"""Drawings as SVG text, put together by hand: words, lines and the sheet."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

INK, PAPER, GRID = "#1a202c", "#ffffff", "#e2e8f0"


def drawing(width: float, height: float, parts: Sequence[str]) -> str:
    """Return a sheet of this size, in pixels, with the parts on it, the last on top."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>\n{body}\n</svg>\n'
    )


def text(
    x: float, y: float, words: str, anchor: str = "middle", colour: str = INK
) -> str:
    """Return a line of text; ``anchor`` says which part of it stands at ``x``.

    That is start, middle or end.
    """
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(words)}</text>"
    )


def line(
    x1: float, y1: float, x2: float, y2: float, colour: str = INK, *, width: int = 1
) -> str:
    """Return a line from one point to another."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke="{colour}" stroke-width="{width}"/>'
    )
