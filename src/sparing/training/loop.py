"""The training loop: batch, gradient, update, line, checkpoint.

    batch of step -> sums of nats and their gradient -> guard -> clip -> update -> journal

The state after a step depends on the state before it and on the step's number, and on nothing
else; so a run that goes on from a checkpoint walks the same path as one that was never stopped.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sparing.base.errors import SparingError
from sparing.base.logs import Progress
from sparing.data.packing import Packing
from sparing.networks.decoder import Decoder
from sparing.training import schedule
from sparing.training.config import PretrainConfig
from sparing.training.journal import Journal
from sparing.training.objectives import TensorRows, next_token_backward
from sparing.training.optim import Optimiser, Rates
from sparing.training.precision import Precision

EXPLODED = 4.0
"""A loss over this many times that of guessing evenly is taken for divergence."""


class Stopped(SparingError):
    """A signal ended the run after a checkpoint."""


class Diverged(SparingError):
    """The loss or the gradient is not finite, or the loss exploded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the loop works with; model and optimiser change, the rest does not."""

    config: PretrainConfig
    model: Decoder
    optimiser: Optimiser
    packing: Packing
    precision: Precision
    journal: Journal
    flops_per_token: float
    """Of one forward and backward pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """What the loop asks of its surroundings."""

    checkpoint: Callable[[int], Path]
    """Save the state after so many steps."""
    heldout: Callable[[], float | None]
    """Bits per byte on held-out text, when there is any."""
    asked: Callable[[], str | None]
    """The name of the signal that asks to stop, if one came."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One step."""

    loss: float
    """Nats per target, before the update."""
    grad_norm: float
    """Norm of the whole gradient before clipping."""
    lr: float
    """Rate of AdamW in this step."""


def train(parts: Parts, callbacks: Callbacks, *, done: int) -> None:
    """Take the steps from `done` to the configuration's last.

    Errors:
        Diverged: names the batch; the last good checkpoint stays.
        Stopped: a signal came; a checkpoint of this very step was saved.
    """
    config, journal = parts.config, parts.journal
    step_tokens = config.batch * config.context
    clock = _Clock(before=journal.seconds, done=done * step_tokens)
    saved = done
    with Progress("pretrain", "tokens", total=config.steps * step_tokens) as progress:
        progress.update(done * step_tokens)
        for step in range(done, config.steps):
            outcome = take_step(parts, step)
            done = step + 1
            tokens = done * step_tokens
            last = done == config.steps
            if done % config.log_every == 0 or last or _is_due(done, config.heldout_every):
                line = _line(outcome, done, tokens)
                if last or _is_due(done, config.heldout_every):
                    bits = callbacks.heldout()
                    line |= {} if bits is None else {"heldout_bpb": bits}
                journal.write(line, seconds=clock.seconds, tokens_per_s=clock.rate(tokens))
            flops = clock.rate(tokens) * parts.flops_per_token
            progress.update(tokens, loss=outcome.loss, GFLOP_per_s=flops / 1e9)
            asked = callbacks.asked()
            if not last and (asked or _is_due(done, config.checkpoint_every)):
                callbacks.checkpoint(done)
                saved = done
            if asked and not last:
                raise Stopped(
                    f"stopped by {asked} after step {saved} of {config.steps}; its checkpoint is "
                    "saved, run the same command with --resume to go on"
                )


def take_step(parts: Parts, step: int) -> Outcome:
    """One update from the batch of `step`, counted from 0."""
    config, model = parts.config, parts.model
    rows = parts.packing.batch(step)
    targets = max(1, rows.targets)
    nats = 0.0
    for part in TensorRows.of(rows, parts.precision.device).parts(config.micro_batch):
        with parts.precision.autocast():
            total = next_token_backward(model, part, divisor=targets, head_rows=config.head_rows)
        nats += total.item()
    loss = nats / targets
    grad_norm = parts.optimiser.clip(config.clip_norm)
    _guard(parts, step, loss, grad_norm)
    share = rate_share(config, step)
    rates = Rates(
        adamw=config.learning_rate * share,
        embedding=config.embedding_learning_rate * share,
        muon=config.matrix_learning_rate * share,
        weight_decay=config.weight_decay,
    )
    parts.optimiser.step(rates)
    return Outcome(loss=loss, grad_norm=grad_norm, lr=rates.adamw)


def rate_share(config: PretrainConfig, step: int) -> float:
    """The share of the peak rates that the schedule gives to a step."""
    warmup, final = config.warmup_steps, config.final_fraction
    if config.schedule == "cosine":
        return schedule.cosine(step, config.steps, warmup=warmup, final=final)
    decay = config.decay_fraction
    return schedule.wsd(step, config.steps, warmup=warmup, decay=decay, final=final)


def _guard(parts: Parts, step: int, loss: float, grad_norm: float) -> None:
    """Stop before a bad gradient reaches the weights."""
    most = EXPLODED * math.log(parts.model.config.vocab)
    if math.isfinite(grad_norm) and loss <= most:  # a NaN loss is not <= anything
        return
    documents = ", ".join(map(str, parts.packing.documents_of(step)[:8]))
    raise Diverged(
        f"step {step + 1}: loss {loss:.4g}, gradient norm {grad_norm:.4g}; the batch holds the "
        f"{parts.packing.split} documents {documents} (in the shards' order). The last good "
        "checkpoint is kept; lower learning_rate and matrix_learning_rate, or look at these "
        "documents, and start again with --overwrite"
    )


def _is_due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0


def _line(outcome: Outcome, done: int, tokens: int) -> dict[str, float | int]:
    return {
        "step": done,
        "tokens": tokens,
        "loss": outcome.loss,
        "lr": outcome.lr,
        "grad_norm": outcome.grad_norm,
    }


class _Clock:
    """Seconds of training over all sittings, and the rate of this one."""

    def __init__(self, *, before: float, done: int) -> None:
        self._before, self._done, self._begun = before, done, time.monotonic()

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._begun

    def rate(self, tokens: int) -> float:
        """Tokens per second since this sitting began."""
        return (tokens - self._done) / max(time.monotonic() - self._begun, 1e-9)
