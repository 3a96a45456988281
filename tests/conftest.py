"""Holds for all tests: annotations are checked, the network is not asked, draws repeat."""

import os
import tempfile

from hypothesis import settings
from jaxtyping import install_import_hook

# Every call into the package is checked against its annotations, tensor shapes included; users
# don't pay for that. A numba kernel, which cannot be wrapped, says @typing.no_type_check.
install_import_hook("said_lightning", "beartype.beartype")

# The same examples on every machine, and no deadline where others share the cores.
settings.load_profile("ci")

# Before the first import of the libraries that read them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"

# What tests tokenise stays out of the user's cache.
os.environ["SAID_CACHE"] = tempfile.mkdtemp(prefix="said-cache-")
