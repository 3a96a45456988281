"""Whether a model, its tokenizer and a task fit together, known before any weights are read."""

import inspect
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from said_lightning.config.schema import ModelConfig
from said_lightning.data.task import TaskConfig


def validate_fit(
    shape: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, model: ModelConfig, task: TaskConfig
) -> list[str]:
    """Return what of a task's batches a model cannot take; `shape` may be without weights."""
    found = [
        validate_vocabulary(shape, tokenizer),
        validate_padding(tokenizer),
        validate_segments(shape.config, tokenizer, columns(task)),
    ]
    return [
        *(f"model.path={model.path}: {line}" for line in found if line),
        *validate_length(shape, tokenizer, task),
    ]


def settle(shape: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make a model's config and its tokenizer agree, in place, on padding and on the inputs.

    A tokenizer without a padding token takes that of the config, else its own end token. The config
    takes the tokenizer's, by which decoders find a text's last token; but where places are counted
    from the padding id, as RoBERTa does, it stays. Inputs that the model does not read, such as
    DistilBERT's segment ids, are not made.
    """
    known, own = len(tokenizer), shape.config.pad_token_id
    if tokenizer.pad_token_id is None:
        given = isinstance(own, int) and 0 <= own < known
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(own) if given else tokenizer.eos_token
    if not counted_from_padding(shape):
        for config in (shape.config, shape.config.get_text_config()):
            config.pad_token_id = tokenizer.pad_token_id
    takes = inspect.signature(type(shape).forward).parameters
    names = [name for name in tokenizer.model_input_names if name in takes]
    if names != tokenizer.model_input_names:
        tokenizer.model_input_names = names
        # So that it is saved with the tokenizer, whose files identify cached tokens.
        tokenizer.init_kwargs["model_input_names"] = names


def columns(task: TaskConfig) -> int:
    """Return how many texts a row of a task has, 1 or 2."""
    return max([1, *(len(source.text) for source in (task.files, task.hub) if source)])


def validate_vocabulary(shape: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return a message where a tokenizer knows no words, or numbers more than there are rows."""
    # Without its files transformers makes up a tokenizer to which every word is unknown.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        return "its tokenizer has no vocabulary"
    try:
        table: Any = shape.get_input_embeddings()
        rows = table.weight.shape[0]
    except (AttributeError, NotImplementedError):  # CANINE hashes letters
        return None
    numbers = max(tokenizer.get_vocab().values()) + 1
    if numbers <= rows:
        return None
    return (
        f"its tokenizer numbers {numbers:,} tokens, its embedding has {rows:,} rows; "
        "expected the tokenizer that it was trained with"
    )


def validate_padding(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return a message where nothing can pad a batch."""
    if tokenizer.pad_token_id is not None:
        return None
    return (
        "its tokenizer has neither a padding token nor an end token; expected a pad_token in its "
        "tokenizer_config.json"
    )


def validate_segments(
    config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, texts: int
) -> str | None:
    """Return a message where a tokenizer numbers more segments than a model knows."""
    types = getattr(config, "type_vocab_size", None)
    if not types or "token_type_ids" not in tokenizer.model_input_names:
        return None
    segments = max(tokenizer(*["a"] * texts)["token_type_ids"], default=0) + 1
    if segments <= types:
        return None
    return (
        f"its tokenizer numbers {segments} segments, the model knows {types}; expected "
        '"model_input_names": ["input_ids", "attention_mask"] in its tokenizer_config.json'
    )


def validate_length(
    shape: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: TaskConfig
) -> list[str]:
    """Return a message where a task's rows are longer than a model's positions."""
    limit = tokenizer.model_max_length
    declared = getattr(shape.config, "max_position_embeddings", None)
    # A DeBERTa whose positions are all relative takes any number of tokens; others say -1.
    relative = not getattr(shape.config, "position_biased_input", True)
    if isinstance(declared, int) and declared > 0 and not relative:
        limit = min(limit, declared - counted_from_padding(shape))
    written = task.max_new_tokens if task.kind == "generate" else 0
    if task.max_length + written <= limit:
        return []
    more = f" and task.max_new_tokens={written}" if written else ""
    return [f"task.max_length={task.max_length}{more}: this model takes at most {limit} tokens"]


def counted_from_padding(shape: PreTrainedModel) -> int:
    """Return how many positions come before a text's first, where the padding id is one of them.

    RoBERTa's table has 514 rows for 512 tokens; 0 for a table that begins with the first token.
    """
    for name, part in shape.named_modules():
        padding = getattr(part, "padding_idx", None)
        if padding is not None and name.endswith(("position_embeddings", "embed_positions")):
            return int(padding) + 1
    return 0
