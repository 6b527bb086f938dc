"""Benchmarks: what siyu costs, measured beside a floor in the same run. Never part of the tests."""

import siyu as siyu  # first of all, as where it is used: it tells Polars about memory
