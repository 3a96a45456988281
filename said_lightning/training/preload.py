"""What the job server imports before it forks: all that each job and check would make anew."""

from contextlib import suppress

import numba  # noqa: F401  not projections.engines, which starts threads: a fork would lose them

import said_lightning.training.budget
import said_lightning.training.run  # noqa: F401
from said_lightning.config.schema import Config
from said_lightning.data.fields import violations_of

# At the first load of any model, transformers compiles the patterns by which it renames weights for
# all its architectures, for as long as a short job takes. This saves that time and nothing else, so
# a version that has it otherwise is no error.
with suppress(Exception):
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping("bert")

violations_of(Config, {})  # pydantic builds the check of a schema at its first use
