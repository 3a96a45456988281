"""The learning rates of a subspace: theta's from one known rate, lambda's the same at every d."""

FULL_LR = 5e-5
"""AdamW's rate for full fine-tuning of a BERT."""
STEP_RATIO = 39.0
"""How far a step of theta moves the weights, as a multiple of full training's: where a sweep
begins, and by docs/results/rates.md within a point of the best, for SAID and DID alike."""
LAMBDA_LR = 0.1
"""The rate of lambda, at every d."""


def learning_rate(d: int, D: int, full_lr: float, step_ratio: float) -> float:
    """Return theta's rate, at which a step moves the weights step_ratio times as far as full_lr's.

    Adam moves every coordinate by about its rate, so a step of full fine-tuning has the length
    full_lr sqrt(D) and one of theta has lr sqrt(d). P is isometric in expectation, so theta's step
    has that length among the weights too. With lr sqrt(d) = step_ratio full_lr sqrt(D),

        lr = step_ratio * full_lr * sqrt(D / d).

    D counts what full fine-tuning trains, in a space of fewer weights too: there each of them has
    to go further for the same effect.

    The ratio is above 1 because a random subspace holds only about sqrt(d / D) of the direction
    that full fine-tuning takes. A step of lambda moves the weights by |d lambda| |P theta|, which
    depends on how far theta has come and neither on d nor on theta's rate. So lambda has a rate of
    its own, LAMBDA_LR, and this rule does not apply to it.
    Full fine-tuning itself (d = D) uses full_lr.
    """
    return float(step_ratio * full_lr * (D / d) ** 0.5)
