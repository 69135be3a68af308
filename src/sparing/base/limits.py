"""The table of every bound on what comes from outside."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Most that a file, a line or a request may ask of us; sizes in bytes."""

    json_bytes: int = 64 << 20
    """A JSON file of a model, tokenizer or manifest."""
    json_depth: int = 64
    """Nesting of a JSON file or body."""
    header_bytes: int = 100 << 20
    """A safetensors header; the format's own bound."""
    tensor_dims: int = 8
    """Dimensions of a stored tensor."""
    line_bytes: int = 8 << 20
    """A line of a jsonl source; longer ones are counted and passed over."""
    file_bytes: int = 64 << 20
    """A text source read as one document; larger ones are counted and passed over."""
    unpacked_bytes: int = 4 << 30
    """What one compressed source may unpack to."""
    unpack_ratio: int = 200
    """Unpacked over packed size of a compressed source, past its first megabyte."""
    body_bytes: int = 4 << 20
    """The body of an HTTP request."""
    prompt_chars: int = 4 << 20
    """Characters of one prompt, before it is tokenised."""
    template_chars: int = 256 << 10
    """Characters of a chat template."""
    choices: int = 16
    """`n` of a request."""
    stop_strings: int = 16
    """Stop strings of a request."""
    stop_chars: int = 256
    """Characters of one stop string."""
    waiting_requests: int = 256
    """Requests in the queue before the server answers 503."""


LIMITS = Limits()
