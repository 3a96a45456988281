"""Numbers quantised to a learned codebook (arXiv 2211.13609)."""

import warnings

import numpy as np
from jaxtyping import Float16, Float32, Int
from scipy.cluster.vq import kmeans2

from said_lightning.artifact.coding import Coded, encode


def lloyd(values: Float32[np.ndarray, " d"], levels: int) -> Float16[np.ndarray, " k"]:
    """Gives the codebook of at most so many levels that k-means finds from even quantiles."""
    start = np.unique(np.quantile(values, (np.arange(levels) + 0.5) / levels, method="higher"))
    with warnings.catch_warnings():
        # Of a level that loses all its numbers on the way: it is left out of the message.
        warnings.simplefilter("ignore", UserWarning)
        found, _ = kmeans2(values[:, None].astype(float), start[:, None], minit="matrix", iter=100)
    return np.unique(found.astype(np.float16))


def quantise(values: Float32[np.ndarray, " d"], codebook: Float16[np.ndarray, " k"]) -> Coded:
    """Codes each number as the nearest level; levels that are nobody's nearest are left out."""
    symbols = nearest(values, codebook)
    used, symbols = np.unique(symbols, return_inverse=True)
    return encode(symbols, codebook[used])


def nearest(
    values: Float32[np.ndarray, " d"], codebook: Float16[np.ndarray, " k"]
) -> Int[np.ndarray, " d"]:
    """Gives each number's nearest level, the first of equals."""
    return np.abs(values[:, None] - codebook.astype(np.float32)).argmin(axis=1)
