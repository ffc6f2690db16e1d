"""A closed descriptor is passed over.

check: test_a_closed_descriptor
says: NVAL passed over
"""

import select


def plan(keyboard, network, left):
    if network & ENDED:
        return ["drain", "leave"]
    steps = ["print"] if network & select.POLLIN else []
    if left:
        steps += ["flush"] if network & select.POLLOUT else []
    elif keyboard & select.POLLIN:
        steps.append("take")
    elif keyboard:
        steps.append("half-close")
    return steps
