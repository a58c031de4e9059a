"""Which nodes of a weighted graph are central: PageRank by power iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DAMPING = 0.85  # the share that PageRank's authors use
ROUNDS = 60
CLOSE_ENOUGH = 1e-7


def centrality(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how central each node is; the values add up to 1.

    `weights` is square, not negative and has zeros on its diagonal. A node without neighbours
    gives its share to all, so that nothing is lost.
    """
    import numpy as np

    count = len(weights)
    totals = weights.sum(axis=1, keepdims=True)
    is_alone = totals[:, 0] <= 0
    steps = weights / np.where(totals > 0, totals, 1)
    rank = np.full(count, 1 / count, dtype=np.float32)
    for _ in range(ROUNDS):
        shared = rank[is_alone].sum() / count
        following = (1 - DAMPING) / count + DAMPING * (rank @ steps + shared)
        is_settled = np.abs(following - rank).max() < CLOSE_ENOUGH
        rank = following.astype(np.float32)
        if is_settled:
            break
    return rank
