"""Counters in Prometheus text, under the names that vLLM's dashboards read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from sparing.server.costs import Account

if TYPE_CHECKING:
    from sparing.engine.service import Stats, Timing, Usage

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Upper bounds of the histograms' buckets: about two in each decade."""

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


class EngineCollector:
    """Reads the engine and the account at the moment that the counters are asked for."""

    def __init__(self, model: str, stats: Callable[[], Stats], account: Account) -> None:
        self._model, self._stats, self._account = model, stats, account

    def collect(self) -> Iterator[Metric]:
        """Gauges and counters of this moment; nothing is 0 that is not known."""
        stats = self._stats()
        used = stats.kv_used_blocks / max(1, stats.kv_blocks)
        yield self._gauge("vllm:num_requests_running", "Answers being computed", stats.running)
        yield self._gauge("vllm:num_requests_waiting", "Answers in the queue", stats.waiting)
        yield self._gauge("vllm:kv_cache_usage_perc", "Share of KV blocks in use", used)
        yield self._counter("vllm:prompt_tokens", "Prompt tokens read", stats.prompt_tokens)
        yield self._counter("vllm:generation_tokens", "Tokens generated", stats.generation_tokens)
        yield self._counter("vllm:num_preemptions", "Answers put back", stats.preemptions)
        ends = CounterMetricFamily(
            "vllm:request_success", "Answers that ended", labels=("model_name", "finished_reason")
        )
        for reason, count in sorted(stats.finished.items()):
            ends.add_metric((self._model, reason), count)
        yield ends
        yield from self._energy()

    def _energy(self) -> Iterator[Metric]:
        account = self._account
        if account.reading.joules is None:
            return
        joules = CounterMetricFamily(
            "sparing:energy_joules",
            f"Energy; {account.reading.method}",
            labels=("model_name", "use", "label"),
        )
        label = account.reading.label
        joules.add_metric((self._model, "requests", label), account.request_joules)
        joules.add_metric((self._model, "idle", label), account.idle_joules)
        yield joules

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, text, labels=("model_name",))
        family.add_metric((self._model,), value)
        return family

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(name, text, labels=("model_name",))
        family.add_metric((self._model,), value)
        return family


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self, model: str, stats: Callable[[], Stats], account: Account) -> None:
        prometheus_client.disable_created_metrics()
        self.registry = CollectorRegistry()
        self._model = model
        self.first_token = self._times("time_to_first_token_seconds", "Until the first token")
        self.next_token = self._times("inter_token_latency_seconds", "Between tokens")
        self._each = self._times("request_time_per_output_token_seconds", "Per token generated")
        self._whole = self._times("e2e_request_latency_seconds", "Of whole requests")
        self._queue = self._times("request_queue_time_seconds", "In the queue")
        self._prefill = self._times("request_prefill_time_seconds", "Reading the prompt")
        self._decode = self._times("request_decode_time_seconds", "Generating")
        self._answers = Counter(
            "sparing:responses",
            "HTTP answers by status",
            ("model_name", "status"),
            registry=self.registry,
        )
        self.registry.register(EngineCollector(model, stats, account))

    def _times(self, name: str, text: str) -> Histogram:
        family = Histogram(
            f"vllm:{name}", text, ("model_name",), registry=self.registry, buckets=SECONDS
        )
        return family.labels(self._model)

    def observe(self, timing: Timing, usage: Usage, seconds: float) -> None:
        """Count one finished choice."""
        self._whole.observe(seconds)
        self._queue.observe(timing.queue_s or 0.0)
        self._prefill.observe(timing.prefill_s or 0.0)
        self._decode.observe(timing.decode_s or 0.0)
        if usage.completion_tokens > 1:
            self._each.observe((timing.decode_s or 0.0) / (usage.completion_tokens - 1))

    def count(self, status: int) -> None:
        """Count one HTTP answer."""
        self._answers.labels(self._model, str(status)).inc()

    def text(self) -> bytes:
        """Everything as Prometheus text."""
        return generate_latest(self.registry)
