"""The Lightning hooks around a Subspace."""

from collections.abc import Iterator

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.hooks import RemovableHandle

from said_lightning.config.schema import Config
from said_lightning.errors import UserError
from said_lightning.models.build import build_subspace
from said_lightning.subspace.subspace import Subspace
from said_lightning.training.ddp import validate_strategy
from said_lightning.training.growing import Grow, sizes


class SubspaceCallback(Callback):
    """Trains `module.model` in a random subspace: gradients are pulled back, weights written.

    The module finds the Subspace in its attribute `subspace` when it makes its optimizer, which
    sees d numbers; the model's own weights hold theta_0 + lambda P theta after each of its steps,
    so evaluation and saving need to know nothing of the subspace.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.subspace: Subspace | None = None
        self._handle: RemovableHandle | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Makes the subspace, before the model is moved and the optimizer made."""
        if wrong := validate_strategy(trainer):
            raise UserError(*wrong)
        if self.subspace is not None:
            return
        assert isinstance(pl_module.model, nn.Module)
        self.subspace = build_subspace(pl_module.model, self.config)
        pl_module.subspace = self.subspace

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hooks the weights and the optimizer, which now exist on their device."""
        assert self.subspace is not None
        subspace = self.subspace
        subspace.attach()
        (optimizer,) = trainer.optimizers

        # Lightning has no callback between the optimizer's step and the next forward pass.
        def write_through(*_: object) -> None:
            subspace.write()

        self._handle = optimizer.register_step_post_hook(write_through)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Has all weights written before others look at them."""
        if self.subspace is not None:
            self.subspace.flush()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leaves an ordinary model behind."""
        if self._handle is not None and self.subspace is not None:
            self._handle.remove()
            self.subspace.detach()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leaves an ordinary model behind after a failure too, which tears no callback down."""
        self.teardown(trainer, pl_module, "fit")


def in_subspace(config: Config) -> Iterator[Callback]:
    """Gives the callbacks that train a config's subspace, none for full fine-tuning."""
    if config.method.name == "full":
        return
    yield SubspaceCallback(config)
    if (first := config.trainer.grow_from) is not None:
        yield Grow(sizes(first, config.d, config.trainer.epochs))
