"""What a server is told: where it listens, who may ask, how much at once."""

import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from sparing.base.errors import ConfigError, require
from sparing.base.limits import LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Limits and doors of one HTTP server."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but the loopback needs a key."""

    port: int = 8000
    """Port to listen on; 0 takes a free one."""

    served_model_name: str | None = None
    """Name under /v1/models; the model folder's name if absent."""

    key_digests: tuple[str, ...] = ()
    """SHA-256, in hex, of each key that opens the server; none leaves it open."""

    allowed_hosts: tuple[str, ...] = ()
    """Host names accepted in the Host header besides addresses and localhost."""

    body_bytes: int = LIMITS.body_bytes
    """Most bytes of a request body."""

    body_seconds: float = 30.0
    """Longest time a client may take to send a body."""

    json_depth: int = LIMITS.json_depth
    """Deepest nesting of a request body."""

    max_choices: int = LIMITS.choices
    """Most choices of one request: `n` times the number of prompts."""

    max_requests: int = LIMITS.waiting_requests
    """Choices running or waiting at once; past it the server answers 503."""

    drain_seconds: float = 30.0
    """Time that running answers get after SIGTERM."""

    def __post_init__(self) -> None:
        require(0 <= self.port < 65536, "port", "0 to 65535", self.port)
        for name in ("body_bytes", "json_depth", "max_choices", "max_requests"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        for name in ("body_seconds", "drain_seconds"):
            value = getattr(self, name)
            require(0 <= value < 1e6, name, "seconds, 0 or more", value)
        for digest in self.key_digests:
            require(len(digest) == 64, "key_digests", "SHA-256 in hex", "something else")
        if not self.key_digests and not is_loopback(self.host):
            raise ConfigError(
                f"host: {self.host} can be reached from other machines and no key is set; "
                "give --api-key-file FILE (or SPARING_API_KEY), or listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def digest_of(key: str) -> str:
    """What is kept of a key: its SHA-256 in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(path: Path) -> tuple[str, ...]:
    """Digests of the keys in a file, one on a line; blank lines and `#` lines are passed over.

    Errors:
        ConfigError: the file cannot be read or holds no key.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"api-key-file: cannot read {path}: {error}") from None
    keys = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    require(bool(keys), "api-key-file", "at least one key on a line of its own", str(path))
    return tuple(digest_of(key) for key in keys)
