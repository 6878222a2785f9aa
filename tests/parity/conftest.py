"""Counts parity cases and prints their number and worst differences at the end of a run."""

from collections import defaultdict

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    cases, worst = 0, defaultdict(float)
    for report in terminalreporter.stats.get("passed", []):
        measured = dict(report.user_properties)
        if "cases" in measured:
            cases += measured.pop("cases")
            for name, value in measured.items():
                worst[name] = max(worst[name], value)
    if cases:
        figures = ", ".join(f"{name} {value:.1e}" for name, value in sorted(worst.items()))
        terminalreporter.write_line(f"parity with transformers: {cases} cases; worst differences: {figures}")
