"""Layers whose weights' gradients are never formed, where P is a matrix between two factors.

A layer y = x W^T of n tokens passes x B and g A on, a few numbers a token, in place of its x and
its gradient g: P^T of W's gradient is scale (g A)^T (x B) (said_lightning.projections.kronecker).
A weight that stands is not written either: it holds theta_0 while the subspace is in training, and
lambda P theta is added to what leaves its layer. A quantized one stands for good.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from said_lightning.projections import Projection
from said_lightning.projections.kronecker import Kronecker
from said_lightning.subspace.gradients import Gradients
from said_lightning.subspace.quantized import is_quantized, output, steady
from said_lightning.subspace.writing import Writer

READERS = (nn.TransformerEncoderLayer, nn.MultiheadAttention)

# How a layer uses its weight: y = x W^T, y = x W, or y = rows of W.
Kind = Literal["linear", "turned", "rows"]


class Layer(NamedTuple):
    """A layer that holds a weight, and its bias' name where P makes it a part of the weight's."""

    module: nn.Module
    kind: Kind
    bias: str | None
    quantized: bool


Layers = Mapping[str, Sequence[Layer]]  # by the weights' names


class Matrices:
    """The layers that pull back their weights' gradients themselves, by the weights' names."""

    def __init__(
        self, layers: Layers, projection: Projection, gradients: Gradients, writer: Writer
    ) -> None:
        self.projection = projection
        self.gradients = gradients
        self.writer = writer
        self.layers = layers
        self._handles: list[RemovableHandle] = []
        for _, layer in self._uses():
            if layer.quantized:
                steady(layer.module)
        self.detach()

    def _uses(self) -> Iterator[tuple[str, Layer]]:
        return ((name, layer) for name, layers in self.layers.items() for layer in layers)

    def attach(self, standing: Collection[str]) -> None:
        """Let the layers pull gradients back; those of standing weights add lambda P theta."""
        self.writer.stand(standing & self.writer.weights.keys())
        for name, layer in self._uses():
            use, module = _Use(self, name, layer, name in standing), layer.module
            module.forward = partial(_forward, use)
            if use.stands and not layer.quantized:
                handle = module.register_state_dict_post_hook(partial(self._written, name))
                self._handles.append(handle)

    def detach(self) -> None:
        """Leave the layers as they were, but let those of quantized weights add lambda P theta."""
        for name, layer in self._uses():
            layer.module.__dict__.pop("forward", None)
            if layer.quantized:
                layer.module.forward = partial(_add, _Use(self, name, layer, stands=True))
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _written(
        self, name: str, layer: nn.Module, state: dict[str, Any], prefix: str, *_: Any
    ) -> None:
        """Put a standing weight into a `state_dict` as it will be once it is written."""
        if not self.writer.holds:
            state[f"{prefix}weight"] = self.writer.value(name)


class _Use:
    """One weight's use in one layer: what enters it meets one factor, what leaves it the other."""

    def __init__(self, owner: Matrices, name: str, layer: Layer, stands: bool) -> None:
        assert isinstance(owner.projection, Kronecker)
        self.projection = owner.projection
        self.owner = owner
        self.name = name
        self.module: Any = layer.module
        self.kind = layer.kind
        self.bias = layer.bias
        self.quantized = layer.quantized
        self.stands = stands
        self.weight: Any = self.module.weight
        self.padding = getattr(layer.module, "padding_idx", None)

    def enter(self, x: Tensor, dtype: torch.dtype) -> Float[Tensor, "tokens inner"]:
        """Return what of a layer's input meets Theta."""
        if self.kind == "rows":
            return self.projection.rows(self.name, x.reshape(-1), dtype)
        return x.reshape(-1, x.shape[-1]).to(dtype) @ self.factor(x, dtype, entering=True)

    def factor(self, like: Tensor, dtype: torch.dtype, entering: bool) -> Float[Tensor, "side n"]:
        """Return the factor of what enters, or of what leaves."""
        both = self.projection.factors(self.name, like.device, dtype)
        return both[entering == (self.kind == "linear")]

    def without_padding(self, x: Tensor, entered: Tensor) -> Float[Tensor, "tokens inner"]:
        """Leave out the rows of an embedding that get no gradient."""
        if self.kind != "rows" or self.padding is None:
            return entered
        return entered.masked_fill((x.reshape(-1, 1) == self.padding), 0)

    def core(self, like: Tensor) -> Float[Tensor, "inner outer"]:
        """Return lambda Theta as it stands between the factors."""
        core = self.projection.core(self.owner.writer.scaled(self.name), self.name)
        return (core.T if self.kind == "linear" else core).to(like)

    def moved(self, y: Tensor, entered: Tensor, core: Tensor) -> Tensor:
        """Return a layer's output with what lambda P theta adds to it."""
        leave = self.factor(y, y.dtype, entering=False)
        return torch.addmm(y.reshape(-1, y.shape[-1]), entered @ core, leave.T).view_as(y)

    def pull(
        self, entered: Float[Tensor, "tokens inner"], left: Float[Tensor, "tokens outer"]
    ) -> None:
        """Pull back the gradients of the weight and of its bias, a token more of no length."""
        wide = torch.promote_types(entered.dtype, torch.float32)
        self._give(self.name, entered.to(wide).T @ left.to(wide))
        if self.bias is not None:
            both = self.projection.factors(self.bias, left.device, wide)
            one = both[self.kind == "linear"]
            self._give(self.bias, one.T @ left.sum(0, keepdim=True, dtype=wide))

    def _give(self, name: str, grad: Float[Tensor, "inner outer"]) -> None:
        grad = grad.T if self.kind == "linear" else grad
        self.owner.gradients.add(name, self.projection.from_core(grad, name))


class _Pull(torch.autograd.Function):
    """Pass a layer's output on, and pull back its weight's gradient when the output's comes.

    theta is an input so that the output has a gradient; its own goes another way.
    """

    @staticmethod
    def forward(ctx: Any, theta: Tensor, x: Tensor, y: Tensor, use: _Use) -> Tensor:
        with torch.autocast(y.device.type, enabled=False):
            entered = use.enter(x, y.dtype)
            core = use.core(y) if use.stands else None
            out = y.view_as(y) if core is None else use.moved(y, entered, core)
            entered = use.without_padding(x, entered)
        ctx.save_for_backward(entered)
        ctx.use, ctx.core = use, core
        ctx.shape, ctx.dtype = x.shape, x.dtype  # not x itself, which need not be kept
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (entered,), use, back = grads, ctx.saved_tensors, ctx.use, None
        with torch.autocast(grad.device.type, enabled=False):
            leave = use.factor(grad, grad.dtype, entering=False)
            left = grad.reshape(-1, grad.shape[-1]) @ leave
            use.pull(entered, left)
            if ctx.core is not None and ctx.needs_input_grad[1]:
                enter = use.factor(grad, grad.dtype, entering=True)
                back = (left @ ctx.core.T @ enter.T).view(ctx.shape).to(ctx.dtype)
        return None, back, grad, None


def _forward(use: _Use, *inputs: Tensor, **named: Tensor) -> Tensor:
    """Compute a layer without a gradient of its weight, and pull that back."""
    module, (x,) = use.module, (*inputs, *named.values())  # some name it
    if module.weight is not use.weight:  # another's, for as long as a functional_call takes
        out: Tensor = type(module).forward(module, x)
        return out
    if torch.is_grad_enabled():
        made: Tensor = _Pull.apply(use.owner.writer.theta, x, _plain(use, x), use)
        return made
    return _add(use, x) if use.stands else _plain(use, x)


def _add(use: _Use, *inputs: Tensor, **named: Tensor) -> Tensor:
    """Compute a layer and add lambda P theta, which gets no gradient, to what leaves it."""
    (x,) = (*inputs, *named.values())
    y = _plain(use, x)
    with torch.autocast(y.device.type, enabled=False):
        return use.moved(y, use.enter(x, y.dtype), use.core(y))


def _plain(use: _Use, x: Tensor) -> Tensor:
    """Compute a layer as its class does, with a weight and a bias that get no gradient."""
    module, weight = use.module, use.weight.detach()
    if use.kind == "rows":
        return functional.embedding(x, weight, module.padding_idx)
    bias = module.bias if use.bias is None else module.bias.detach()
    if use.quantized:
        y = output(module, x)
        return y if bias is None else y + bias.to(y.dtype)
    if use.kind == "linear":
        return functional.linear(x, weight, bias)
    flat = torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight)
    return flat.view(*x.shape[:-1], weight.shape[1])


def find_layers(
    model: nn.Module, projection: Projection, weights: Mapping[str, nn.Parameter]
) -> Layers:
    """Return the layers of a projection's matrices, by the weights' names.

    A weight is left out, and with it to a gradient of its own, where something else holds it too.
    """
    if not isinstance(projection, Kronecker):
        return {}
    holders: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for own, weight in module.named_parameters(recurse=False):
            holders.setdefault(id(weight), []).append((module, own))
    biases = {owner: bias for bias, owner in projection.owners.items()}
    # In evaluation these read their layers' weights themselves.
    readers = (module for module in model.modules() if isinstance(module, READERS))
    read = {id(part) for reader in readers for part in reader.modules()}

    def is_bias(name: str | None, module: nn.Module, kind: Kind) -> bool:
        """Return whether a layer alone holds this bias, and uses it as P takes it."""
        if name is None or [m for m, _ in holders[id(weights[name])]] != [module]:
            return False
        one = projection.matrices[name]
        return kind != "rows" and (one.columns == 1) == (kind == "linear")

    layers: dict[str, list[Layer]] = {}
    for name in projection.matrices:
        held = [] if name in projection.owners else holders[id(weights[name])]
        kinds = [_kind(module) if own == "weight" else None for module, own in held]
        if not held or None in kinds or any(id(module) in read for module, _ in held):
            continue
        bias = biases.get(name)
        layers[name] = [
            Layer(
                module,
                kind,
                bias if is_bias(bias, module, kind) else None,
                is_quantized(weights[name]),
            )
            for (module, _), kind in zip(held, kinds, strict=True)
            if kind is not None
        ]
    return layers


def _kind(module: nn.Module) -> Kind | None:
    """Return how a module's forward uses its weight, None where that is not known."""
    forward, own = type(module).forward, vars(module).get("forward")
    if own is not None and getattr(own, "func", None) is not _add:  # another's
        return None
    weight = module._parameters.get("weight")
    held = isinstance(module, nn.Linear) and weight is not None and is_quantized(weight)
    if forward is nn.Linear.forward or held:
        return "linear"
    if isinstance(module, nn.Embedding) and forward is nn.Embedding.forward:
        plain = module.max_norm is None and not module.sparse and not module.scale_grad_by_freq
        return "rows" if plain else None
    # transformers is not imported for its sake.
    is_turned = (type(module).__module__, type(module).__name__)
    return "turned" if is_turned == ("transformers.pytorch_utils", "Conv1D") else None
