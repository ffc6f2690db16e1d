"""What the kernel saw of a program: exact by strace(1), or sampled from /proc.

The flow: strace.py makes the command → syntax.py reads its lines → replay.py walks through them, keeping what the
kernel keeps (descriptors.py: tables; messages.py: queues of bytes) → records.py holds what came out. sampling.py
makes the same records without strace.
"""

from chatlab.trace.records import Call, Descriptor, Message, Process, Signal, Trace
from chatlab.trace.sampling import Sampler
from chatlab.trace.strace import command

__all__ = ["Call", "Descriptor", "Message", "Process", "Sampler", "Signal", "Trace", "command"]
