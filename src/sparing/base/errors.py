"""Every failure a caller can cause, as one small family."""


class SparingError(Exception):
    """Base of all errors raised on purpose."""


class ConfigError(SparingError):
    """A setting is missing, unknown, of the wrong type or out of range."""


class ShapeError(SparingError):
    """A tensor has the wrong shape, dtype, layout or device."""


class ArtefactError(SparingError):
    """A file or folder is missing, damaged, incomplete or of another kind."""


class CapacityError(SparingError):
    """The work asked for can never fit in the memory or disk set aside for it."""


class MissingExtraError(SparingError):
    """An optional dependency is absent; the message says what to install."""


class RequestError(SparingError):
    """A client asked for something impossible; the server answers with `status`."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param, code, status


def require(ok: bool, name: str, expected: str, got: object) -> None:
    """Raise `ConfigError` naming the field, the rule and the value, unless `ok`."""
    if not ok:
        raise ConfigError(f"{name}: expected {expected}, got {got!r}")


def missing_extra(package: str, extra: str) -> MissingExtraError:
    """The error for an optional dependency that is not installed."""
    return MissingExtraError(f"{package} is not installed; run: pip install 'sparing[{extra}]'")
