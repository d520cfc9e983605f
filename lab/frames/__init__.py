"""Typed frames of a run: what each message, slice and start was. Columns are declared in lab.frames.columns."""

from lab.frames.dataset import Frames, load, write

__all__ = ["Frames", "load", "write"]
