"""Train a small vision transformer with transformers' Trainer: python vit_trainer.py [EPOCHS].

Needs accelerate and scikit-learn. A model of your own, from_pretrained(...), takes its place.
"""

import sys
import tempfile
from typing import Any

from sklearn.datasets import load_digits
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification, set_seed

from said_lightning import SubspaceTrainerCallback


def accuracy(predicted: Any) -> dict[str, float]:
    """Return the share of labels that are the likeliest."""
    return {"accuracy": (predicted.predictions.argmax(-1) == predicted.label_ids).mean()}


def main(epochs: int) -> None:
    """Train, and print the accuracy on the digits held out."""
    set_seed(0)
    x, y = load_digits(return_X_y=True)
    images = (x.reshape(-1, 1, 8, 8) / 16).astype("float32")
    rows: Any = [
        {"pixel_values": one, "labels": digit} for one, digit in zip(images, y, strict=True)
    ]
    config = ViTConfig(image_size=8, patch_size=2, num_channels=1, hidden_size=32)
    config.update({"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2})
    config.num_labels = 10
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=32,
            learning_rate=1e-3,  # one that is good for full training
            save_strategy="no",
            report_to=[],
        )
        trainer = Trainer(
            ViTForImageClassification(config),
            arguments,
            train_dataset=rows[:1400],
            eval_dataset=rows[1400:],
            compute_metrics=accuracy,
            callbacks=[SubspaceTrainerCallback(d=1000, method="said", seed=0)],
        )
        trainer.train()
        print(f"1,000 numbers: accuracy {trainer.evaluate()['eval_accuracy']:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 10)
