"""A certificate in words."""

from said_lightning.runs.certificate import Certificate


def verdict(one: Certificate) -> str:
    """Says what a certificate bounds and at what price, and plainly where it bounds nothing."""
    said = "VACUOUS: no better than always giving one answer" if one.vacuous else "not vacuous"
    bits, tried = one.message_bits, ", ".join(f"{n} {key}" for key, n in one.searched.items())
    return f"""{one.model} {one.task} {one.method} d={one.d:,} seed={one.seed}
error <= {one.bound:.2%} with probability {one.confidence:.0%}, for rows drawn as the {one.rows:,} \
training rows were, independently: {said}
  Catoni {one.catoni:.2%}, KL-inverse {one.kl_inverse:.2%}
  in training {one.train_error:.2%}, on {one.dev_rows:,} dev rows {one.dev_error:.2%}
  majority class {one.majority_error:.2%} in training, {one.dev_majority_error:.2%} on the dev rows
  {bits:,} bits of message = {bits / one.d:.2f} for each number, at {one.levels} levels
  {one.search_bits:.1f} bits for what was searched: {tried}
  sqrt(d / m) = {one.rate:.3f}, Theorem 1 without the constants that it leaves open"""
