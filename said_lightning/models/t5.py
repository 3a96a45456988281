"""T5's encoder as a classifier, which transformers does not have."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel, T5PreTrainedModel
from transformers.loss.loss_utils import ForSequenceClassificationLoss
from transformers.modeling_outputs import SequenceClassifierOutput


class T5EncoderClassifier(T5PreTrainedModel):
    """T5's encoder, the mean of its outputs over a text's tokens, dropout, and a linear layer.

    The decoder is left out of D: it was trained to write text, not to read it. How the paper of
    SAID made T5 classify is not known.
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.transformer = T5EncoderModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.d_model, config.num_labels or 1)
        self.post_init()

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"],
        attention_mask: Int[Tensor, "batch tokens"] | None = None,
        labels: Shaped[Tensor, " batch"] | None = None,
    ) -> SequenceClassifierOutput:
        """Return logits [batch, labels], and the loss where labels are given."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        hidden: Float[Tensor, "batch tokens width"] = self.transformer(
            input_ids, attention_mask=attention_mask
        ).last_hidden_state
        mask = attention_mask[:, :, None].to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        logits = self.classifier(self.dropout(mean))
        loss = None
        if labels is not None:
            loss = ForSequenceClassificationLoss(labels, logits, self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)
