"""Lab 05, epoll, fork and shared memory: your exercises. `make check-5` judges them, `make hint EX=5.2` helps.

Edit this file and no other. Each docstring is the whole contract. Write the pieces one by one: 5.10 puts them together
into a chat server of your own, a process for each client. You may add functions and classes. Standard library only.
"""


class EpollPoller:
    """5.1 select.poll's interface over an epoll: a loop written for poll goes on working, and scales.

    An epoll of its own, made once, keeps what is watched between two calls of poll. The constants are poll's: EPOLLIN
    and POLLIN are the same number, and so are OUT, PRI, ERR, HUP and RDHUP. Level-triggered, as poll is.
    `fd` is an int, or an object with fileno(). Source: epoll(7), "Questions and answers"; epoll_ctl(2); TLPI 63.4.
    """

    def __init__(self):
        raise NotImplementedError("exercise 5.1 is not started")

    def register(self, fd, events):
        """Watch `fd` for `events`, a mask. A number that is watched already gets the new mask, as with poll.

        The number may mean another file than when it was registered: that one was closed without a word to us, and the
        number given out again. What it means now is what is watched.
        A regular file is always ready to be read and written, which poll says and epoll refuses to say (EPERM): it can
        be registered like anything else. Raises OSError as epoll_ctl does for any other reason, such as EBADF.
        """
        raise NotImplementedError("exercise 5.1 is not started")

    def unregister(self, fd):
        """Watch `fd` no more. Raises KeyError when it is not registered, as poll does.

        A descriptor that has been closed meanwhile can be unregistered all the same.
        """
        raise NotImplementedError("exercise 5.1 is not started")

    def poll(self, timeout=None):
        """Return what is ready: a list of (fd, events), fd an int, in any order.

        Argument: timeout, in milliseconds as poll takes it, an int or a float; None or a negative one: wait for ever.
        Sleeps in epoll_wait until something is ready, or the time is over: then the list is empty. A regular file is
        ready at once, for what it was asked of POLLIN and POLLOUT, beside whatever else is ready then.
        """
        raise NotImplementedError("exercise 5.1 is not started")

    def close(self):
        """Close the epoll's descriptor. What was watched stays open. A second close does nothing."""
        raise NotImplementedError("exercise 5.1 is not started")


def collect(socks):
    """5.2 Receive all that comes on several connections, until each has ended, told by edge-triggered epoll.

    Argument: socks, a list of connected stream sockets, blocking or not; some may have something to read already.
    Returns a list of bytes, in the order of socks: all that came on each until its end of file.
    One epoll is told of each socket once (EPOLLIN | EPOLLET). It tells when something has come, and not again because
    something is left. So whoever is told reads until nothing is left, by recv of at most 4096 bytes, and never waits
    in it: others may have something to say. The sockets are left open, non-blocking or not; the epoll is closed.
    Source: epoll(7), "Level-triggered and edge-triggered"; TLPI 63.4.6.
    """
    raise NotImplementedError("exercise 5.2 is not started")


SCHEDULE = None  # 5.3 (its task comes here)


class Tally:
    """5.4 A count that several processes add to in shared memory, none of them ever waiting, and nothing lost.

    (Its contract comes here, and so does that of 5.5.)
    """

    def __init__(self, writers):
        raise NotImplementedError("exercise 5.4 is not started")


class Ring:
    """5.5 A ring of bytes in shared memory, for one process that writes and one that reads.

    (Its contract comes here in a moment, together with its methods and where its two positions are.)
    """

    def __init__(self, memory):
        raise NotImplementedError("exercise 5.5 is not started")


class Cell:
    """5.6 A record that is overwritten while others read it: a torn or overrun read is detected, never returned.

    (The contract of this exercise comes here, in place of these lines.)
    """

    def __init__(self, memory):
        raise NotImplementedError("exercise 5.6 is not started")


class Slots:
    """5.7 Slots that are given out, given back and given out again, each time with another generation.

    (The contract of this exercise comes here, in place of these lines.)
    """

    def __init__(self, count):
        raise NotImplementedError("exercise 5.7 is not started")


def let_go(keep):
    """5.8 Close in the child what is not its own.

    (The contract of this exercise comes here, in place of these lines.)
    """
    raise NotImplementedError("exercise 5.8 is not started")


class Doorbell:
    """5.9 Doorbells that may be merged, and of which none is lost.

    (The contract of this exercise comes here, in place of these lines.)
    """

    def __init__(self, sock):
        raise NotImplementedError("exercise 5.9 is not started")


def serve(listener, max_clients):
    """5.10 Be a chat server with a process for each client, made of the pieces above.

    (The contract of this exercise comes here, in place of these lines.)
    """
    raise NotImplementedError("exercise 5.10 is not started")
