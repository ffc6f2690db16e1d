"""Start any program of the course, know when it is ready, and leave nothing of it behind."""

from chatlab.launch.program import LaunchError, Program, launch, run
from chatlab.launch.tree import Tree

__all__ = ["LaunchError", "Program", "Tree", "launch", "run"]
