"""Where the numbers of a chart of points stand: beside their marks, covering as little as can be."""

from collections.abc import Sequence

# px from a mark to the middle of its number, the nearest places first.
SIDES = [(0, -12), (11, -8), (11, 9), (0, 12), (-11, 9), (-11, -8), (19, 0), (-19, 0), (0, -21), (0, 22)]
SIDES += [(20, -16), (-20, -16), (20, 17), (-20, 17)]
FRAMES = ((290, 330), (620, 330))  # px of the trade-off on a narrow screen and on a wide one


def place_numbers(points: Sequence[tuple[float, float]], ends: Sequence[float]) -> list[tuple[int, int]]:
    """Where the number of each point stands beside it, in px, so that it covers as few marks and numbers as can be.

    ends: of the intervals of x, which the axis holds too.
    """
    if not points:
        return []
    xs, ys = zip(*points, strict=True)
    left, right, top = min(*xs, *ends, xs[0]), max(*xs, *ends, xs[0]), max(ys)
    across, down = (right - left) or 1, (top - min(ys)) or 1
    found: list[tuple[int, int]] = []
    for place in range(len(points)):
        costs = [0.0] * len(SIDES)
        for width, height in FRAMES:
            marks = [(width * (x - left) / across, height * (top - y) / down) for x, y in points]
            crowd = marks + [(x + dx, y + dy) for (x, y), (dx, dy) in zip(marks, found, strict=False)]
            x, y = marks[place]
            for i, (dx, dy) in enumerate(SIDES):
                costs[i] += sum(_overlap(x + dx - a, y + dy - b) for a, b in crowd) + (not 0 <= x + dx <= width)
        found.append(SIDES[costs.index(min(costs))])
    return found


def _overlap(dx: float, dy: float) -> float:
    """How much a number of two digits and what lies so far from its middle overlap, 0 to 1."""
    return max(0.0, 1 - abs(dx) / 14) * max(0.0, 1 - abs(dy) / 12)
