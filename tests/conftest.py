"""Where all that tests need has been installed, as in CI, none may go missing by a skip."""

import os

import pytest

# What a machine may lack for good: hardware, data sets, a fuzzer that is not built for its Python.
MAY_LACK = (
    "CUDA",
    "MPS",
    "M3D_DATA",
    "cifar10",
    "atheris",
    "Triton",
    "kernel does not reset",
    "needs Linux's accounts",
)


def _missed(report):
    """A skip for want of anything else is a failure under M3D_NO_SKIPS=1."""
    if os.environ.get("M3D_NO_SKIPS") == "1" and report.outcome == "skipped":
        reason = str(report.longrepr[2])
        if not hasattr(report, "wasxfail") and not any(word in reason for word in MAY_LACK):
            report.outcome, report.longrepr = "failed", f"skipped, and must not be: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _missed((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _missed((yield))
