"""`bertie serve`'s application as a Ray Serve deployment: replicas across a cluster, each with its own models.

serve run bertie.serving.ray_deployment:application models=/models/minilm,ner=/models/people replicas=4 cpus=2
"""

from collections.abc import Mapping
from typing import Any

from bertie.errors import InputError, nearest
from bertie.extras import need
from bertie.serving import read_keys
from bertie.serving.served_model import ServedModel
from bertie.serving.server_process import make_service
from bertie.serving.service import Limits

_KNOWN = ("models", "replicas", "cpus", "gpus", "device")


def application(given: Mapping[str, Any]) -> Any:
    """Return the deployment; ``serve run`` and Serve's config files call this.

    Args:
        given: ``models`` as `bertie serve` takes them, separated by commas; the number of ``replicas`` (1), the
            ``cpus`` (1) and ``gpus`` (0) of each, and the ``device`` of all. API keys are read from
            ``BERTIE_API_KEYS``.

    Raises:
        InputError: no model is named, or an argument is unknown or not a number.
        BertieError: Ray is not installed.
    """
    serve = need("ray.serve", "ray", "A deployment of Ray Serve")
    if (wrong := next((name for name in given if name not in _KNOWN), None)) is not None:
        raise InputError(f"There is no argument {wrong!r}; there are {', '.join(_KNOWN)}.{nearest(wrong, _KNOWN)}")
    if not given.get("models"):
        raise InputError("No model is named; give models=FOLDER, or several separated by commas.")
    models, device, limits = str(given["models"]).split(","), given.get("device"), Limits()
    keys = read_keys()

    def build() -> Any:
        return make_service([ServedModel.open(model, device) for model in models], limits, keys)[1]

    resources = {"num_cpus": _number(float, given, "cpus", 1), "num_gpus": _number(float, given, "gpus", 0)}
    replicas = _number(int, given, "replicas", 1)
    deployment = serve.deployment(
        serve.ingress(build)(),
        name="bertie",
        num_replicas=replicas,
        ray_actor_options=resources,
        max_ongoing_requests=limits.concurrent,
        graceful_shutdown_timeout_s=limits.seconds + 5,
    )
    return deployment.bind()


def _number(kind: type[int] | type[float], given: Mapping[str, Any], name: str, default: int) -> float:
    try:
        return kind(given.get(name, default))
    except (TypeError, ValueError):
        raise InputError(f"{name} is {given[name]!r:.60}; give a number, such as {default}.") from None
