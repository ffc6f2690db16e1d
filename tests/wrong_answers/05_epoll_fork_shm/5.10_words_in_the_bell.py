"""The words are sent over the socketpair, and lie in the memory besides.

check: test_words_go_through_memory
says: what is said sent to the parent
"""


def say(self):
    taken = self.said.write(self.unsaid)
    if taken:
        self.bell.sock.send(self.unsaid[:taken])
        self.unsaid = self.unsaid[taken:]


def serve(listener, max_clients):
    ClientProcess.say = say
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()
