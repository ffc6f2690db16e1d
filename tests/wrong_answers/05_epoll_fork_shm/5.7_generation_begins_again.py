"""A slot that is freed begins with generation 0 again.

check: test_a_handle_is_good_once
says: have the generations
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
        self.words[handle % len(self.words)] = 0

    def is_current(self, handle):
        generation, slot = divmod(handle, len(self.words))
        return generation % 2 == 1 and self.words[slot] == generation
