"""The learning-rate rule: one known rate, carried over to every d."""

FULL_LR = 5e-5  # AdamW's rate for full fine-tuning of a BERT
STEP_RATIO = 13.0


def learning_rate(d: int, D: int, full_lr: float, step_ratio: float) -> float:
    """Return the rate at which a step moves the weights step_ratio times as far as full_lr's.

    Adam moves every coordinate by about its rate, so a step of full fine-tuning has the length
    full_lr sqrt(D) and one of theta has lr sqrt(d). P is isometric in expectation, so theta's step
    has that length among the weights too. With lr sqrt(d) = step_ratio full_lr sqrt(D),

        lr = step_ratio * full_lr * sqrt(D / d).

    D counts what full fine-tuning trains, in a space of fewer weights too: there each of them has
    to go further for the same effect.

    The ratio is above 1 because a random subspace holds only about sqrt(d / D) of the direction
    that full fine-tuning takes; the study of rates says how it was chosen and how flat its optimum
    is. Full fine-tuning itself (d = D) uses full_lr, not this rule.
    """
    return float(step_ratio * full_lr * (D / d) ** 0.5)
