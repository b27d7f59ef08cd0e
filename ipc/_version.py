"""The version, in the one place that setup, code and tests read."""

__version__ = "0.1.0"
