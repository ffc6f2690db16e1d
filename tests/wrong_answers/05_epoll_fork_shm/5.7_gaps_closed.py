"""The last owner is moved into the slot that is freed, as the textbook does.

check: test_nobody_moves
says: a table that closes its gaps
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
            raise StaleHandle(f"nobody has a slot by handle {handle}")
        last = max(slot for slot, generation in enumerate(self.words) if generation % 2 == 1)
        self.words[handle % len(self.words)] = self.words[last]
        self.words[last] += 1

    def is_current(self, handle):
        generation, slot = divmod(handle, len(self.words))
        return generation % 2 == 1 and self.words[slot] == generation
