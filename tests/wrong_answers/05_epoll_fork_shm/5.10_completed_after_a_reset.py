"""The end of input after a send that failed is taken for a FIN, and half a line for a whole one.

check: test_ends
says: a reset is handled as the end of input
"""


def receive(self):
    try:
        data = self.client.recv(RING_BYTES)
    except BlockingIOError:
        return
    except OSError:
        data = b""
    self.speaks = bool(data)
    self.unsaid = data or (b"\n" if self.unfinished else b"")
    last = data.rfind(b"\n")
    self.unfinished = len(data) - 1 - last + (self.unfinished if last < 0 else 0)


def serve(listener, max_clients):
    ClientProcess.receive = receive
    room = ForkRoom(listener, max_clients)
    while True:
        room.turn()
