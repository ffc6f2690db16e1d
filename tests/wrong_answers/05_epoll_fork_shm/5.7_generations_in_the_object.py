"""What is current is kept in the object, which a child has only a copy of.

check: test_other_processes_see_it
says: generations kept in the object
"""


class Slots:
    def __init__(self, words):
        self.words = words
        self.current = set()

    def allocate(self):
        for slot, generation in enumerate(self.words):
            if generation % 2 == 0:
                self.words[slot] = generation + 1
                handle = (generation + 1) * len(self.words) + slot
                self.current.add(handle)
                return handle
        return None

    def free(self, handle):
        if handle not in self.current:
            raise StaleHandle(f"nobody has a slot by handle {handle}")
        self.current.discard(handle)
        self.words[handle % len(self.words)] += 1

    def is_current(self, handle):
        return handle in self.current
