"""A list, which every child has a copy of.

check: test_processes_count_together
says: memory that fork copies
"""


class Tally:
    def __init__(self, writers):
        self.counts = [0] * writers

    def add(self, writer, amount=1):
        self.counts[writer] += amount

    def total(self):
        return sum(self.counts)
