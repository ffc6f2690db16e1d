/* A relay of lines on epoll: the loop that epoll_per_read.c and epoll_batched.c share.

   A line of at most 65,536 bytes goes to every client but its sender. Sockets are non-blocking and have TCP_NODELAY; one
   recv for each readable client and turn, so that nobody starves anybody. While some client's queue is full nobody is
   read, which is TCP's own back-pressure; a client that stays full for a second is closed. Level-triggered epoll.
   Sources: epoll(7), send(2), accept(2), tcp(7). */

#define _GNU_SOURCE

#include "relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 4096
#define BACKLOG 4096
#define STALL_LOOK_MILLISECONDS 50

struct client **room;
size_t room_count;

static size_t room_size;
static size_t full_count;
static struct client *gone;
static int epoll_fd;
static int listener;
static bool listener_waits; /* accept failed for want of descriptors */

static void die(const char *what)
{
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

void *need(void *memory)
{
    if (memory == NULL)
        die("memory");
    return memory;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void watch_listener(uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, listener, &event) < 0)
        die("epoll_ctl");
    listener_waits = interest == 0;
}

static void update_interest(struct client *client)
{
    uint32_t interest = (full_count == 0 ? EPOLLIN : 0) | (client->queued_bytes > 0 ? EPOLLOUT : 0);
    if (interest == client->interest)
        return;
    struct epoll_event event = {.events = interest, .data.ptr = client};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, client->fd, &event) < 0)
        die("epoll_ctl");
    client->interest = interest;
}

/* The first full queue stops the reading of everyone, the last one to drain starts it again. */
static void set_full(struct client *client, bool full)
{
    if (full == client->full)
        return;
    client->full = full;
    client->full_since = full ? now() : 0;
    size_t before = full_count;
    full_count = full ? full_count + 1 : full_count - 1;
    if ((before == 0) != (full_count == 0))
        for (size_t i = 0; i < room_count; i++)
            update_interest(room[i]);
}

void queue_changed(struct client *client)
{
    if (client->queued_bytes > QUEUE_BYTES)
        set_full(client, true);
    else if (client->queued_bytes <= QUEUE_BYTES / 4 * 3)
        set_full(client, false);
    update_interest(client);
}

void leave(struct client *client)
{
    if (client->gone)
        return;
    client->gone = true;
    room[client->place] = room[--room_count];
    room[client->place]->place = client->place;
    set_full(client, false);
    close(client->fd);
    client->next_gone = gone;
    gone = client;
    if (listener_waits)
        watch_listener(EPOLLIN);
}

/* Later events of the same turn may still point to a client that left. */
static void bury(void)
{
    while (gone != NULL) {
        struct client *client = gone;
        gone = client->next_gone;
        queue_free(client->queue);
        free(client->rest);
        free(client);
    }
}

static void join(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct client *client = need(calloc(1, sizeof *client));
    client->fd = fd;
    client->queue = queue_new();
    client->interest = full_count == 0 ? EPOLLIN : 0;
    if (room_count == room_size) {
        room_size = room_size ? 2 * room_size : 64;
        room = need(realloc(room, room_size * sizeof *room));
    }
    client->place = room_count;
    room[room_count++] = client;
    struct epoll_event event = {.events = client->interest, .data.ptr = client};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void accept_all(void)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            join(fd);
        else if (errno == EAGAIN)
            return;
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            watch_listener(0);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR)
            die("accept4");
    }
}

/* One recv; the whole lines in what is there now are taken, the rest waits for its end. */
static void receive(struct client *client)
{
    static char buffer[2 * LINE_BYTES];
    size_t bytes = client->rest_bytes;
    if (bytes > 0)
        memcpy(buffer, client->rest, bytes);
    ssize_t got = recv(client->fd, buffer + bytes, LINE_BYTES, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got == 0 && bytes > 0)
        buffer[bytes++] = '\n';
    if (got > 0)
        bytes += got;
    const char *last = got < 0 ? NULL : memrchr(buffer, '\n', bytes);
    size_t whole = last == NULL ? 0 : last - buffer + 1;
    if (whole > 0)
        take(client, buffer, whole);
    if (got <= 0 || bytes - whole >= LINE_BYTES) {
        leave(client);
        return;
    }
    client->rest_bytes = bytes - whole;
    if (client->rest_bytes > 0) {
        client->rest = need(realloc(client->rest, client->rest_bytes));
        memcpy(client->rest, buffer + whole, client->rest_bytes);
    }
}

static void handle(struct client *client, uint32_t events)
{
    if (events & EPOLLOUT && !client->gone)
        flush(client);
    if (client->gone)
        return;
    if (full_count == 0 && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        receive(client);
    else if (events & (EPOLLERR | EPOLLHUP))
        leave(client);
}

static void send_stalled_away(void)
{
    const char *told = getenv("STALL_SECONDS"); /* a test on a busy machine has more patience */
    double limit = now() - (told != NULL ? atof(told) : STALL_SECONDS);
    for (size_t i = room_count; i-- > 0;)
        if (room[i]->full && room[i]->full_since < limit)
            leave(room[i]);
}

static void serve(void)
{
    static struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, full_count > 0 ? STALL_LOOK_MILLISECONDS : -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++)
            if (events[i].data.ptr == NULL)
                accept_all();
        for (int i = 0; i < count; i++)
            if (events[i].data.ptr != NULL)
                handle(events[i].data.ptr, events[i].events);
        end_of_turn();
        if (full_count > 0)
            send_stalled_away();
        bury();
    }
}

static void listen_on(int port)
{
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        die("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, BACKLOG) < 0)
        die("cannot listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int port_number(const char *word)
{
    char *end;
    long number = strtol(word, &end, 10);
    return *word == '\0' || *end != '\0' || number < 0 || number > 65535 ? -1 : (int)number;
}

int main(int argc, char **argv)
{
    int port = 9999;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--port") == 0 && i + 1 < argc)
            port = port_number(argv[++i]);
        else if (!option(argv[i]))
            port = -1;
        if (port < 0) {
            fprintf(stderr, "%s: %s: it takes --port PORT, from 0 to 65535\n", argv[0], argv[i]);
            return 2;
        }
    }
    raise_descriptor_limit();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1");
    listen_on(port);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll_ctl");
    serve();
}
