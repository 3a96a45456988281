"""Fine-tune a small decoder with TRL's SFTTrainer in 200 numbers: python sft_trl.py [EPOCHS].

Needs trl. A model, its tokenizer and texts of your own take the place of what is made here.
"""

import sys
import tempfile

from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed
from trl import SFTConfig, SFTTrainer

from said_lightning import SubspaceTrainerCallback

WORDS = ["<pad>", "<s>", "</s>", "+", "=", *map(str, range(19))]


def main(epochs: int) -> None:
    """Train, and print the loss of the first and of the last step."""
    set_seed(0)
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<pad>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    texts = [{"text": f"{a} + {b} = {a + b}"} for a in range(10) for b in range(10)]

    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            LlamaForCausalLM(config),
            SFTConfig(
                folder,
                num_train_epochs=epochs,
                per_device_train_batch_size=20,
                learning_rate=1e-3,  # one that is good for full training
                logging_steps=1,
                bf16=False,
                save_strategy="no",
                report_to=[],
            ),
            train_dataset=Dataset.from_list(texts),
            processing_class=tokenizer,
            callbacks=[SubspaceTrainerCallback(d=200, method="said", seed=0)],
        )
        trainer.train()
        losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    print(f"200 numbers: loss {losses[0]:.3f}, then {losses[-1]:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20)
