"""Counts parity cases and prints their number and worst differences at the end of a run."""

from collections import defaultdict

import pytest

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
