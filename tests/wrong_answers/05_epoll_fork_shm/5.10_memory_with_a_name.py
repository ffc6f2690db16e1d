"""The shared memory is a file in /dev/shm.

check: test_words_go_through_memory
says: a segment with a name
"""

import mmap
import os


def named_memory(size):
    descriptor = os.open(f"/dev/shm/chat-{size}", os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(descriptor, size)
    try:
        return memoryview(mmap.mmap(descriptor, size))
    finally:
        os.close(descriptor)


def serve(listener, max_clients):
    globals()["shared_memory"] = named_memory
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()
