"""How a cost grows with the number of units: the slope of log(cost) over log(units).

1 where each unit costs the same however many there are, above 1 where more of them cost each more,
below 1 where a fixed cost is spread over more of them.
"""

import math
import statistics
from collections.abc import Mapping


def growth_exponent(costs: Mapping[int, float]) -> float:
    """The slope of the straight line through the logarithms of units and costs.

    Args:
        costs: Of all units together, by their number; at least two numbers.

    Raises:
        RuntimeError: A cost is not above 0: noise was larger than what is measured.
    """
    if min(costs.values()) <= 0:
        raise RuntimeError(f"{costs} by number, expected costs above 0; measure again")
    return statistics.linear_regression(
        [math.log(count) for count in costs], [math.log(cost) for cost in costs.values()]
    ).slope


def last_exponent(costs: Mapping[int, float]) -> float:
    """The same between the two largest numbers alone, where fixed costs weigh least."""
    largest = sorted(costs)[-2:]
    return growth_exponent({count: costs[count] for count in largest})
