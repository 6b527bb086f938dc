"""Benchmarks: what siyu costs, measured beside a floor in the same run. Never part of the tests."""
