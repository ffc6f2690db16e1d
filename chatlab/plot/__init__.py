"""Figures of a trace, for a notebook's width. Each function returns the Axes, and nothing is shown or saved here.

Every Axes carries its data as `axes.chatlab_rows`, a list of dictionaries, so that a cell can assert on what it shows.
"""

from chatlab.plot.descriptors import descriptor_timeline
from chatlab.plot.path import byte_path
from chatlab.plot.processes import process_tree
from chatlab.plot.sequence import sequence_chart

__all__ = ["byte_path", "descriptor_timeline", "process_tree", "sequence_chart"]
