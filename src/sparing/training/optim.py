"""The optimiser: Muon for the matrices of the blocks, AdamW for everything else.

Both are written here, on lists of tensors, so that their whole state is a few named float32
tensors and a step count, and a run goes on from them bit for bit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparing.base.errors import ArtefactError

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients that drive singular values into about 0.7 to 1.2 (Jordan et al. 2024)."""

ROUNDS = 5
"""Newton-Schulz rounds; enough at these coefficients (same source)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one step is taken with; the rates already follow the schedule."""

    adamw: float
    """Rate of AdamW."""
    embedding: float
    """Rate of AdamW for the tensor named `embedding`, where one is."""
    muon: float
    """Rate of Muon."""
    weight_decay: float
    """Decoupled decay of matrices, times the rate."""


class Optimiser:
    """Moves the parameters by their gradients; `state` and `load` carry it across a restart."""

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        *,
        matrices: Sequence[str],
        embedding: str | None = None,
        betas: tuple[float, float],
        momentum: float,
        eps: float = 1e-8,
    ) -> None:
        self._matrices = _by_shape({name: parameters[name] for name in matrices})
        apart = frozenset((*matrices, embedding))
        rest = {name: tensor for name, tensor in parameters.items() if name not in apart}
        self._embedding = {} if embedding is None else {embedding: parameters[embedding]}
        self._gradients = gradients
        self._betas, self._momentum, self._eps = betas, momentum, eps
        self._steps = 0
        self._moments = {name: torch.zeros_like(parameters[name]) for name in matrices}
        self._rest = rest
        adamw = {**rest, **self._embedding}
        self._first = {name: torch.zeros_like(tensor) for name, tensor in adamw.items()}
        self._second = {name: torch.zeros_like(tensor) for name, tensor in adamw.items()}

    @torch.no_grad()
    def step(self, rates: Rates) -> None:
        """One update from the gradients, which are then zero."""
        self._steps += 1
        for group in self._matrices:
            self._muon(group, rates)
        for group, rate in ((self._rest, rates.adamw), (self._embedding, rates.embedding)):
            if group:
                self._adamw(group, rate, rates.weight_decay)
        torch._foreach_zero_(list(self._gradients.values()))

    def _muon(self, group: dict[str, Tensor], rates: Rates) -> None:
        """Nesterov momentum, made orthogonal, all matrices of one shape together."""
        grads = [self._gradients[name] for name in group]
        moments = [self._moments[name] for name in group]
        torch._foreach_lerp_(moments, grads, 1 - self._momentum)
        ahead = torch._foreach_lerp(grads, moments, self._momentum)
        rows, columns = grads[0].shape
        scale = rates.muon * max(1.0, rows / columns) ** 0.5
        for parameter, update in zip(group.values(), orthogonal(ahead), strict=True):
            parameter.mul_(1 - rates.muon * rates.weight_decay)
            parameter.add_(update, alpha=-scale)

    def _adamw(self, group: dict[str, Tensor], rate: float, weight_decay: float) -> None:
        """Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2."""
        beta1, beta2 = self._betas
        parameters = list(group.values())
        grads = [self._gradients[name] for name in group]
        first = [self._first[name] for name in group]
        second = [self._second[name] for name in group]
        torch._foreach_lerp_(first, grads, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, grads, grads, 1 - beta2)
        spread = torch._foreach_sqrt(second)
        torch._foreach_div_(spread, (1 - beta2**self._steps) ** 0.5)
        torch._foreach_add_(spread, self._eps)
        decayed = [parameter for parameter in parameters if parameter.ndim == 2]
        if decayed and weight_decay:
            torch._foreach_mul_(decayed, 1 - rate * weight_decay)
        torch._foreach_addcdiv_(parameters, first, spread, -rate / (1 - beta1**self._steps))

    def clip(self, limit: float) -> float:
        """As `clip`, for the gradients that the next step takes."""
        return clip(list(self._gradients.values()), limit)

    def state(self) -> dict[str, Tensor]:
        """Everything but the parameters; the tensors are the live ones."""
        named = {f"momentum.{name}": value for name, value in self._moments.items()}
        named |= {f"first.{name}": value for name, value in self._first.items()}
        named |= {f"second.{name}": value for name, value in self._second.items()}
        return named | {"steps": torch.tensor(self._steps, dtype=torch.int64)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave.  Errors: ArtefactError naming what does not fit."""
        own = self.state()
        if state.keys() != own.keys():
            odd = sorted(state.keys() ^ own.keys())[:3]
            raise ArtefactError(f"optimiser state: {', '.join(odd)} missing or left over")
        for name, value in own.items():
            if value.shape != state[name].shape or value.dtype != state[name].dtype:
                raise ArtefactError(f"optimiser state: {name} has another shape or dtype")
            value.copy_(state[name])
        self._steps = int(state["steps"])


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """The nearest orthogonal matrix of each, roughly: singular values become about 1.

    The last dimension is the longer one during the rounds, so that the products are small.
    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon/; Bernstein & Newhouse 2024, arXiv:2409.20325.
    """
    a, b, c = QUINTIC
    found = []
    for matrix in matrices:
        x = matrix / (matrix.norm() + 1e-7)
        tall = x.shape[0] > x.shape[1]
        x = x.T if tall else x
        for _ in range(ROUNDS):
            gram = x @ x.T
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        found.append(x.T if tall else x)
    return found


def gradients(parameters: Iterable[Tensor], views: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Zero gradients for the parameters, and each view's part of them under the view's name.

    Maps that share an input are one parameter in the network; a matrix is made orthogonal alone.
    """
    by_storage: dict[int, Tensor] = {}
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
        by_storage[parameter.untyped_storage().data_ptr()] = parameter.grad
    return {
        name: by_storage[view.untyped_storage().data_ptr()].as_strided(
            view.shape, view.stride(), view.storage_offset()
        )
        for name, view in views.items()
    }


def clip(gradients: list[Tensor], limit: float) -> float:
    """Scale all gradients so that their joint norm is at most `limit`; returns the norm before.

    A limit of 0 scales nothing.
    """
    norm = torch.stack(torch._foreach_norm(gradients)).norm().item()
    if limit and norm > limit:
        torch._foreach_mul_(gradients, limit / norm)
    return norm


def _by_shape(matrices: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    groups: dict[tuple[int, ...], dict[str, Tensor]] = {}
    for name, matrix in matrices.items():
        groups.setdefault(tuple(matrix.shape), {})[name] = matrix
    return list(groups.values())
