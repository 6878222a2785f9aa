"""Why a request is refused: a sentence, and a kind that each API family has its own status and name for."""

from dataclasses import dataclass

from bertie.errors import BertieError, ConfigError, InputError, InputTypeError


@dataclass(frozen=True)
class Kind:
    """How the API families report one kind of refusal."""

    tei: tuple[int, str]  # the status and ``error_type`` of text-embeddings-inference
    status: int  # of the other families
    openai: str  # the ``type`` of OpenAI's errors
    failure: str  # the label ``err`` of the metric ``te_request_failure``


INVALID = "invalid_request_error"
EMPTY = Kind((400, "Empty"), 400, INVALID, "validation")
MALFORMED = Kind((400, "Validation"), 400, INVALID, "validation")
VALIDATION = Kind((422, "Validation"), 400, INVALID, "validation")
UNAUTHORIZED = Kind((401, "Unauthorized"), 401, "authentication_error", "unauthorized")
UNKNOWN_MODEL = Kind((404, "Validation"), 404, INVALID, "validation")
WRONG_MODEL = Kind((424, "Backend"), 400, INVALID, "model_type")
TOO_LARGE = Kind((413, "Validation"), 413, INVALID, "validation")
UNSUPPORTED = Kind((415, "Validation"), 415, INVALID, "validation")
SLOW = Kind((408, "Validation"), 408, INVALID, "dropped")
LATE = Kind((504, "Overloaded"), 504, "timeout_error", "dropped")
OVERLOADED = Kind((429, "Overloaded"), 429, "rate_limit_error", "overloaded")
BACKEND = Kind((424, "Backend"), 500, "server_error", "inference")
UNHEALTHY = Kind((503, "Unhealthy"), 503, "server_error", "inference")
# the client has disconnected; the status is nginx's, for the log
GONE = Kind((499, "Validation"), 499, INVALID, "dropped")

KINDS = tuple(kind for kind in vars().copy().values() if isinstance(kind, Kind))


class Refusal(BertieError):
    """A request is refused; ``retry_after``: the seconds after which to try again, if known."""

    def __init__(self, kind: Kind, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.kind, self.retry_after = kind, retry_after


def refusal_of(error: Exception) -> Refusal | None:
    """Return an error as clients see it; None: it is internal, and clients learn nothing of it."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, InputError | InputTypeError | ConfigError):
        return Refusal(VALIDATION, str(error))
    return Refusal(BACKEND, str(error)) if isinstance(error, BertieError) else None
