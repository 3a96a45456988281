"""A tiny random model of the architecture that each yaml of conf/model names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedTokenizerFast

CONF = Path(__file__).parents[2] / "conf" / "model"
YAMLS = sorted(path.stem for path in CONF.glob("*.yaml"))
# A yaml's name begins with its architecture's, but for these.
OTHERS = {
    "deberta-v3": "deberta-v2",
    "gemma-3": "gemma3_text",
    "llama-3.2": "llama",
    "pythia": "gpt_neox",
    "qwen3": "qwen3",
    "smollm2": "llama",
    "distilroberta": "roberta",
    "minilm": "bert",
    "multiberts": "bert",
    "pretrained": "bert",
}
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}
LLAMA = {**BERT, "num_key_value_heads": 2}
STACKS = {
    f"{part}_{name}": n
    for part in ("encoder", "decoder")
    for name, n in (("layers", 3), ("attention_heads", 2), ("ffn_dim", 32))
}
DEBERTA = {
    **BERT,
    "relative_attention": True,
    "pos_att_type": ["c2p", "p2c"],
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_biased_input": False,
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TOKENS = {"bos_token_id": 0, "cls_token_id": 0, "sep_token_id": 1}
TINY: dict[str, dict[str, Any]] = {
    "albert": {**BERT, "embedding_size": 8},
    "bart": {"d_model": 16, "max_position_embeddings": 32, **STACKS},
    "bert": BERT,
    "deberta-v2": DEBERTA,
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32},
    "electra": {**BERT, "embedding_size": 8},
    "gemma3_text": {**LLAMA, "head_dim": 8},
    "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 32},
    "gpt_neox": BERT,
    "llama": LLAMA,
    "opt": {**BERT, "ffn_dim": 32, "word_embed_proj_dim": 16},
    "qwen3": {**LLAMA, "head_dim": 8},
    "modernbert": {**BERT, **TOKENS, "global_attn_every_n_layers": 2},
    "mpnet": BERT,
    "roberta": BERT,
    "t5": {"d_model": 16, "d_kv": 8, "num_layers": 3, "num_heads": 2, "d_ff": 32},
    "xlm-roberta": BERT,
    "xlnet": {"d_model": 16, "n_layer": 3, "n_head": 2, "d_inner": 32},
}


@pytest.fixture(params=YAMLS)
def yaml(request: pytest.FixtureRequest) -> str:
    """Each model yaml's name in turn."""
    return str(request.param)


@pytest.fixture(params=sorted(TINY))
def architecture(request: pytest.FixtureRequest) -> str:
    """Each architecture's name in turn."""
    return str(request.param)


@pytest.fixture
def config(yaml: str) -> PretrainedConfig:
    """Return the config of a model of three layers and width 16, of the yaml's architecture."""
    return tiny_config(yaml)


@pytest.fixture
def pretrained(architecture: str, tmp_path: Path) -> Path:
    """Return a pre-trained model of three layers as its makers would save it, without a head."""
    torch.manual_seed(0)
    model = AutoModel.from_config(tiny_config(architecture))
    model.save_pretrained(tmp_path / "tiny")
    words = Tokenizer(WordLevel({"[UNK]": 0, "</s>": 1, "[PAD]": 2, "a": 3}, "[UNK]"))
    words.post_processor = TemplateProcessing(
        single="$A </s>", pair="$A </s> $B:1 </s>:1", special_tokens=[("</s>", 1)]
    )
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "eos_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=32, **special)
    tokenizer.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def save_tokenizer() -> Callable[..., None]:
    """Return what saves a tokenizer of words in a model's folder: [CLS] a [SEP], or a <end>."""

    def save(folder: Path, padding: bool = True, segments: bool = False, **options: Any) -> None:
        words = [*SPECIAL, "a", "the", "film", "plot", "good", "fine", "great", "bad", "poor"]
        backend = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
        backend.pre_tokenizer = Whitespace()
        backend.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
        names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "eos_token": "[SEP]"}
        if padding:
            names["pad_token"] = "[PAD]"
        if segments:
            options["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        kinds: Any = {"model_max_length": 32, **names, **options}
        PreTrainedTokenizerFast(tokenizer_object=backend, **kinds).save_pretrained(folder)

    return save


def tiny_config(yaml: str) -> PretrainedConfig:
    """Give the config of a model of three layers and width 16, of a yaml's architecture."""
    known = {**{name: name for name in TINY}, **OTHERS}
    prefixes = [prefix for prefix in known if yaml.startswith(prefix)]
    assert prefixes, f"name the architecture of conf/model/{yaml}.yaml in OTHERS"
    kind = known[max(prefixes, key=len)]
    return AutoConfig.for_model(
        kind, vocab_size=40, eos_token_id=1, pad_token_id=2, num_labels=2, **TINY[kind]
    )


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Two rows of six random tokens that end in the end token, and a label each."""
    tokens = torch.randint(3, 40, (2, 6), generator=torch.Generator().manual_seed(0))
    tokens[:, -1] = 1
    return {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "labels": torch.tensor([0, 1]),
    }
