"""From text files to rows of tokens: paragraphs, a WordPiece tokenizer, blocks of one length."""

from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from said_lightning.data.readers import bbc
from said_lightning.errors import UserError

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def paragraphs(text: list[str]) -> list[str]:
    """Read files and folders of .txt files, in order; with none, the demo's BBC articles.

    A blank line ends a paragraph. Raise UserError where a file is no UTF-8 text.
    """
    whole = [_read(file) for path in map(Path, text) for file in _files(path)]
    whole = whole or [bbc.decode(path.read_bytes()) for path in bbc.articles()]
    parts = (" ".join(part.split()) for one in whole for part in one.split("\n\n"))
    return [part for part in parts if part]


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.txt")) if path.is_dir() else [path]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no UTF-8 text: byte {error.start} is none of it") from None


def train_tokenizer(texts: list[str], vocabulary: int, length: int) -> PreTrainedTokenizerFast:
    """Train BERT's uncased WordPiece tokenizer on texts, the same for the same texts.

    It has at most `vocabulary` tokens, but each letter, and each as the end of a word.
    """
    normal = normalizers.BertNormalizer(lowercase=True)
    letters = sorted(set("".join(map(normal.normalize_str, texts))) - {" "})
    # The trainer numbers what it meets in the order of a hash table, and ties go by number; so
    # all that it starts from is given to it in order.
    first = [*SPECIAL.values(), *letters, *(f"##{letter}" for letter in letters)]
    trained = _bert(models.WordPiece(unk_token=SPECIAL["unk_token"]), normal)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary, special_tokens=first, show_progress=False
    )
    trained.train_from_iterator(texts, trainer)
    vocab = trained.get_vocab()
    backend = _bert(models.WordPiece(vocab, unk_token=SPECIAL["unk_token"]), normal)
    backend.decoder = decoders.WordPiece()
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocab[token]) for token in ("[CLS]", "[SEP]")],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=length, model_input_names=names, **SPECIAL
    )


def _bert(model: models.Model, normal: normalizers.Normalizer) -> Tokenizer:
    backend = Tokenizer(model)
    backend.normalizer = normal
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return backend


def blocks(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], length: int
) -> Int[ndarray, "rows length"]:
    """Cut the tokens of all texts, a [SEP] after each, into rows [CLS] ... [SEP] of one length.

    What is left over at the end is dropped.
    """
    stream: list[int] = []
    for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
        stream += [*ids, tokenizer.sep_token_id]
    inner = length - 2
    rows = np.array(stream[: len(stream) // inner * inner], dtype=np.int64).reshape(-1, inner)
    return np.pad(
        rows,
        ((0, 0), (1, 1)),
        constant_values=((0, 0), (tokenizer.cls_token_id, tokenizer.sep_token_id)),
    )
