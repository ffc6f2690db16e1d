"""A message is taken for the slot's owner, whoever that is by now.

check: test_a_handle_is_good_once
says: a late message of the old owner is taken for the new one's
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
        self.words[handle % len(self.words)] += 1

    def is_current(self, handle):
        return self.words[handle % len(self.words)] % 2 == 1
