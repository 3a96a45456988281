"""What `said check` says of a model is what training does: over the architectures there are."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from said_lightning.errors import UserError
from said_lightning.models.encoder import load
from said_lightning.models.head import head_of
from said_lightning.training.budget import between, outlined, validate_models
from said_lightning.training.run import run

# What configs call a small size, each taking what it knows of them.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size"), 16),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 1),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("intermediate_size", "d_ff", "d_inner", "n_inner", "hidden_dim"), 32),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "ffn_dim", "dff"), 32),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "vocab_size"), 64),
    **dict.fromkeys(("num_key_value_heads", "num_local_experts"), 2),
    **{"head_dim": 8, "d_kv": 8, "word_embed_proj_dim": 16, "true_hidden_size": 16},
    **{"intra_bottleneck_size": 16, "d_head": 8, "pad_token_id": 0},
    **dict.fromkeys(("bos_token_id", "cls_token_id"), 2),
    **dict.fromkeys(("eos_token_id", "sep_token_id"), 3),
}
ENCODERS: dict[str, dict[str, Any]] = {
    "albert": {},
    "bart": {},
    "bert": {},
    "big_bird": {},
    "canine": {},
    "convbert": {},
    "deberta": {},
    "deberta-v2": {},
    "distilbert": {},
    "electra": {},
    "ernie": {},
    "esm": {},
    "fnet": {},
    "funnel": {"block_sizes": [1, 1], "architectures": ["FunnelModel"]},
    "longformer": {"attention_window": [4, 4]},
    "megatron-bert": {},
    "mobilebert": {},
    "modernbert": {},
    "mpnet": {},
    "nystromformer": {},
    "reformer": {"attn_layers": ["local", "lsh"], "axial_pos_embds_dim": [8, 8]},
    "roberta": {},
    "roformer": {},
    "squeezebert": {},
    "t5": {},
    "xlm-roberta": {},
    "xlnet": {},
    "xmod": {},
}
DECODERS: dict[str, dict[str, Any]] = {
    "biogpt": {},
    "bloom": {},
    "ctrl": {},
    "falcon": {},
    "gemma": {},
    "gemma3_text": {},
    "gpt2": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gpt_neox": {},
    "llama": {},
    "mistral": {},
    "mixtral": {},
    "opt": {},
    "phi": {},
    "phi3": {"pad_token_id": 0},
    "qwen2": {},
    "qwen3": {},
}
EVERY = [*ENCODERS, *DECODERS]
# Training needs rows of exactly as many tokens as its table, or a language to be set.
REFUSED = {"reformer", "xmod"}
# The width between the two linear layers that is not the one asked for: another key of theirs has
# it, it is four times the model's, or, transposed, the queries', keys' and values' are wider.
BETWEEN = {"reformer": 512, "bloom": 64, "falcon": 64, "squeezebert": 64, "gpt2": 48}
# Their layers cannot be computed again in the backward pass.
ONCE = {"albert", "funnel", "mpnet", "squeezebert", "xlnet", "ctrl"}


def small(architecture: str) -> Any:
    """Return the config of a model of two layers and width 16."""
    known = AutoConfig.for_model(architecture).to_dict()
    sizes = {key: value for key, value in SIZES.items() if key in known}
    own = {**ENCODERS, **DECODERS}[architecture]
    if architecture in DECODERS:
        sizes.pop("pad_token_id", None)
    return AutoConfig.for_model(architecture, **{**sizes, **own})


@pytest.fixture(params=EVERY)
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path, save_tokenizer: Any) -> Path:
    """Return each architecture in turn as a folder; decoders have no padding token."""
    torch.manual_seed(0)
    folder = tmp_path / request.param
    AutoModel.from_config(small(request.param)).save_pretrained(folder)
    encoder = request.param in ENCODERS
    save_tokenizer(folder, padding=encoder, segments=encoder)
    return folder


def refusal(config: Any) -> list[str]:
    """Return what `said check` says against a run."""
    return validate_models([config])


def test_check_and_training_agree(checkpoint: Path, compose: Any, tmp_path: Path) -> None:
    spec = compose(
        tmp_path / "out", f"model.path={checkpoint}", "trainer.epochs=1", "task.train_limit=8"
    )
    said = refusal(spec.config)
    try:
        trained = run(spec).status == "done"
    except UserError:
        trained = False
    assert (not said) == trained == (checkpoint.name not in REFUSED), said
    assert len(said) <= 1
    if not said:
        spec.config.trainer.activation_checkpointing = True
        found = refusal(spec.config)
        assert bool(found) == (checkpoint.name in ONCE)
        assert all("trainer.activation_checkpointing=true: " in line for line in found)
    assert all("\n" not in line and line.startswith("model.path=") for line in said)


def test_the_width_between_a_layers_linear_layers_is_read_off_its_matrices(
    checkpoint: Path, compose: Any, tmp_path: Path
) -> None:
    config = compose(tmp_path / "out", f"model.path={checkpoint}").config
    try:
        found = outlined(config)
    except UserError:
        assert checkpoint.name in REFUSED
        return
    assert between(found, 16) == BETWEEN.get(checkpoint.name, 32)


def test_a_new_head_is_the_same_whatever_the_checkpoint_held(
    checkpoint: Path, compose: Any, tmp_path: Path, save_tokenizer: Any
) -> None:
    config = compose(tmp_path / "out").config

    def head(folder: Path, seed: int) -> dict[str, Any]:
        model = load(config.model.__class__(name="tiny", path=str(folder)), config.task, seed).model
        names = head_of(model)
        assert names
        return {name: w for name, w in model.named_parameters() if name in names}

    first, other = head(checkpoint, 0), head(checkpoint, 1)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    if checkpoint.name == "t5":  # transformers has no classifier that is its encoder alone
        return
    for labels in (2, 5):
        folder = tmp_path / f"of {labels}"
        own = AutoConfig.from_pretrained(checkpoint, num_labels=labels)
        classifier = AutoModelForSequenceClassification.from_config(own)
        for weight in classifier.parameters():
            torch.nn.init.uniform_(weight)
        classifier.save_pretrained(folder)
        save_tokenizer(folder, padding=checkpoint.name in ENCODERS)
        again = head(folder, 0)
        assert all(torch.equal(first[name], again[name]) for name in first)
