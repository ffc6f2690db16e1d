"""Of all who have spoken in a turn the last one is heard.

check: test_order
says: one pending message per client
"""


def relay_the_last(self):
    said = [(child, child.lines()) for child in list(self.children.values())]
    for child, lines in [each for each in said if each[1]][-1:]:
        for other in self.children.values():
            if other is not child:
                other.give(lines)
    for child, _ in said:
        if not child.here:
            self.bury(child)


def serve(listener, max_clients):
    ForkRoom.relay = relay_the_last
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()
