"""The version, which run folders keep."""

__version__ = "0.1.0"
