"""The only place that calls into native code.  Patterns (channels, workers, ...) stand on it."""
