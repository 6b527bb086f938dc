"""The functional core: frames in, frames out. No I/O, no clock, no randomness."""
