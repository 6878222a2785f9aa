"""Metrics as parsed by Prometheus, of one process and of several."""

from array import array

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bertie.serving.scheduler import Step
from bertie.serving.service import Answers
from bertie.serving.service_metrics import METRICS, SECONDS, WIDTH, Metrics

ANSWERS = Answers([0, 0], [3, 0], 20, 12, tokenization=0.5, queue=0.001, inference=100.0)


def read(metrics: Metrics) -> dict[str, float]:
    """Return each sample by name and label value, with Prometheus' own parser."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value for one in families for sample in one.samples
    }


def test_counts() -> None:
    metrics = Metrics()
    metrics.on_answers("embed", ANSWERS, 2.0)
    metrics.on_answers("fill-mask", ANSWERS, 3.0)
    metrics.on_request("batch", None)
    metrics.on_request("single", "validation")
    metrics.on_step(Step(rows=2, tokens=12, seconds=0.25, padding=8))
    metrics.note_load(7, 9)
    found = read(metrics)
    assert (found["te_embed_count"], found["te_embed_success"], found["te_predict_count"]) == (2, 2, 0)
    assert (found["te_request_count batch"], found["te_request_count single"]) == (1, 1)
    assert (found["te_request_success batch"], found["te_request_failure validation"]) == (1, 1)
    assert "te_request_success single" not in found
    assert "te_request_failure overloaded" not in found
    assert (found["te_request_duration_count"], found["te_request_duration_sum"]) == (2, 5)
    assert (found["te_embed_duration_count"], found["te_embed_duration_sum"]) == (1, 2)
    # bounds are inclusive, and buckets cumulative
    assert [found[f"te_batch_next_size_bucket {bound}"] for bound in (1.0, 2.0, 4.0, "+Inf")] == [0, 1, 1, 1]
    assert found["te_embed_inference_duration_bucket +Inf"] == 1
    assert found[f"te_embed_inference_duration_bucket {SECONDS[-1]}"] == 0
    assert (found["bertie_step_padding_sum"], found["te_request_input_length_sum"]) == (8, 24)
    assert (found["te_queue_size"], found["bertie_requests_in_flight"]) == (7, 9)
    assert (found["bertie_tokens_total"], found["bertie_step_seconds_total"]) == (12, 0.25)
    assert found["bertie_tokens_cut_total"] == 6


def test_the_text_equals_that_of_prometheus_client() -> None:
    registry = CollectorRegistry()
    theirs = Histogram("te_request_queue_duration", "Seconds of request_queue", buckets=SECONDS, registry=registry)
    metrics = Metrics()
    for seconds in (0.0, SECONDS[3], 0.25, 1e3):
        theirs.observe(seconds)
        metrics.on_answers("fill-mask", Answers([0], [0], 1, 1, 0.0, seconds, 0.0), 1.0)
    wanted = [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
    assert [line for line in metrics.text().decode().splitlines() if "te_request_queue_duration" in line] == wanted


def test_each_process_reports_the_sums_of_all() -> None:
    rows = array("d", bytes(8 * 3 * WIDTH))
    first, second, third = (Metrics(rows, process) for process in range(3))
    for process in (first, second, second):
        process.on_request("single", None)
        process.note_load(5, 1)
    assert read(third)["te_request_success single"] == 3
    assert read(first) == read(third)
    assert read(first)["te_queue_size"] == 10
    Metrics(rows, 1).note_load(0, 0)  # as when it has ended
    assert (read(first)["te_queue_size"], read(first)["te_request_success single"]) == (5, 3)


def test_names_are_unique() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
