"""Bounds on the error of one classifier that a prefix code can name, from its error in training.

A message of b bits has the prior probability 2^-b or more (Kraft), chosen before any row was seen,
so that the divergence of "this very classifier" from the prior is at most b ln 2 nats. Each bound
holds with probability 1 - delta for n rows drawn independently, whatever the training did.
"""

from math import expm1, inf, log, log1p, sqrt

import numpy as np

from said_lightning.errors import needs

# Chosen before any data; each has its share of delta.
ALPHAS = (1e-3, 1e-2, 1e-1)
# Any gamma of 1 or more may be chosen after the fact: (1 + alpha) and the logarithm pay for it.
GAMMAS = np.exp(np.linspace(0, log(1e9), 4001))


def nats(bits: float) -> float:
    """Return the divergence from the prior of a classifier whose message has `bits` bits."""
    return bits * log(2)


def catoni(error: float, n: int, divergence: float, delta: float) -> float:
    """Return Catoni's bound at its best gamma and alpha, at most 1.

    (1 - exp(-gamma q / n)) / (1 - exp(-gamma / n)) with q = error + (1 + alpha) / gamma (KL +
    ln(1 / delta) + 2 ln(2 + ln gamma / ln(1 + alpha))), as in arXiv 2211.13609. For each alpha
    delta is shared out.
    """
    best = 1.0
    for alpha in ALPHAS:
        grid = 2 * np.log(2 + np.log(GAMMAS) / log1p(alpha))
        cost = divergence + log(len(ALPHAS) / delta) + grid
        q = error + (1 + alpha) / GAMMAS * cost
        best = min(best, float((np.expm1(-GAMMAS / n * q) / np.expm1(-GAMMAS / n)).min()))
    return best


def kl_inverse(error: float, n: int, divergence: float, delta: float) -> float:
    """Return the largest p with kl(error || p) <= (KL + ln(2 sqrt(n) / delta)) / n.

    The bound of Langford and Seeger with Maurer's constant (arXiv cs/0411099), which is proven for
    n of 8 or more; below, 1.
    """
    if n < 8:
        return 1.0
    return inverse(error, (divergence + log(2 * sqrt(n) / delta)) / n)


def inverse(q: float, c: float) -> float:
    """Return the largest p in [q, 1] with kl(q || p) <= c, rounded up by 1e-12 at most."""
    if q >= 1:
        return 1.0
    if q <= 0:
        return -expm1(-c)
    top = 1 - 1e-15
    if kl(q, top) <= c:
        return 1.0
    brentq = needs("scipy.optimize", "certify", "a bound").brentq
    root = brentq(lambda p: kl(q, p) - c, q, top, xtol=1e-13)
    return min(1.0, root + 1e-12)


def kl(q: float, p: float) -> float:
    """Return the divergence in nats of a coin with chance q from one with chance p."""
    rest = (1 - q) * (log1p(-q) - log1p(-p)) if q < 1 else 0.0
    if not 0 < p < 1:
        return 0.0 if p == q else inf
    return rest + (q * log(q / p) if q > 0 else 0.0)


def rate(d: int, n: int) -> float:
    """Return sqrt(d / n), Theorem 1 of arXiv 2012.13255 without the constants it leaves open."""
    return sqrt(d / n)


def certified(error: float, n: int, bits: float, delta: float) -> tuple[float, float]:
    """Return both bounds, Catoni's and the KL-inverse, which hold together with 1 - delta."""
    half = delta / 2
    return catoni(error, n, nats(bits), half), kl_inverse(error, n, nats(bits), half)
