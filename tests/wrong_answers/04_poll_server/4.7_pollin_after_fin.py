"""POLLIN is asked for after FIN.

check: test_an_idle_room_sleeps
says: POLLIN of one whose FIN has been read
"""

import select


class WrongRoom(Room):
    def wanted(self, client, quiet):
        wanted = super().wanted(client, quiet)
        return wanted | select.POLLIN if client.heard_out else wanted

    def hear_end(self, client):
        if client.heard_out and not client.cut_off and not client.dismissed:
            return b""
        return super().hear_end(client)


def serve(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds):
    room = WrongRoom(listener, max_clients, queue_bytes, stall_seconds, half_close_seconds)
    while True:
        room.turn()
