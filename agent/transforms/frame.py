"""Where a model's input lies in the picture that it was made of.

The rule: lengths are in pixels of the whole upright picture, as it was stored; pixels are squares, so that the first
one reaches from 0 to 1. Whatever moves or scales pixels on the way to the input says so here, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """A place x, y in the input is the place `left + x * across`, `top + y * down` in the picture.

    Attributes:
        width, height: of the picture.
        columns, rows: of the input.
        left, top: of the input's first pixel; below 0 where the input is wider than the picture.
        across, down: of one pixel of the input; above 0.
    """

    width: int
    height: int
    columns: int
    rows: int
    left: float = 0.0
    top: float = 0.0
    across: float = 1.0
    down: float = 1.0

    def cut(self, left: int, top: int, columns: int, rows: int) -> Frame:
        """Of that part of the input; a part may reach beyond it."""
        return replace(
            self,
            columns=columns,
            rows=rows,
            left=self.left + left * self.across,
            top=self.top + top * self.down,
        )

    def resized(self, columns: int, rows: int) -> Frame:
        """Of the same input in another size."""
        across, down = self.across * self.columns / columns, self.down * self.rows / rows
        return replace(self, columns=columns, rows=rows, across=across, down=down)

    def boxes(self, inside: NDArray[Any]) -> NDArray[np.float32]:
        """Boxes `[N, 4]` (left, top, right, bottom) in the input as boxes in the picture, cut where it ends."""
        scale = (self.across, self.down, self.across, self.down)
        origin = (self.left, self.top, self.left, self.top)
        placed = inside * np.asarray(scale, np.float64) + np.asarray(origin, np.float64)
        return np.asarray(np.clip(placed, 0.0, (self.width, self.height) * 2), dtype=np.float32)

    def inside(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Boxes `[N, 4]` in the picture as boxes in the input, cut where it ends: what `boxes` turns back."""
        scale = (self.across, self.down, self.across, self.down)
        origin = (self.left, self.top, self.left, self.top)
        placed = (boxes - np.asarray(origin, np.float64)) / np.asarray(scale, np.float64)
        return np.asarray(np.clip(placed, 0.0, (self.columns, self.rows) * 2))

    def seen(self, columns: int, rows: int) -> tuple[slice, slice]:
        """Rows and columns of a map over the input (`rows` × `columns` of them) that show the picture, not padding."""
        across, down = self.across * self.columns / columns, self.down * self.rows / rows
        return _span(-self.top / down, (self.height - self.top) / down, rows), _span(
            -self.left / across, (self.width - self.left) / across, columns
        )


def _span(begin: float, end: float, most: int) -> slice:
    first = min(max(round(begin), 0), most - 1)
    return slice(first, max(min(round(end), most), first + 1))
