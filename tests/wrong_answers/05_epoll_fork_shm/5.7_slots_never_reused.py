"""A counter gives out the slots one after the other, and none twice.

check: test_slots_are_given_out_and_given_back
says: none given although one is free
"""


class Slots:
    def __init__(self, words):
        self.words = words
        self.next = 0

    def allocate(self):
        if self.next == len(self.words):
            return None
        slot, self.next = self.next, self.next + 1
        self.words[slot] += 1
        return self.words[slot] * len(self.words) + slot

    def free(self, handle):
        if not self.is_current(handle):
            raise StaleHandle(f"nobody has a slot by handle {handle}")
        self.words[handle % len(self.words)] += 1

    def is_current(self, handle):
        generation, slot = divmod(handle, len(self.words))
        return generation % 2 == 1 and self.words[slot] == generation
