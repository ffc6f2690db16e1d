/* What the two relays in C share: see relay.c. Each gives its own `struct queue` and the functions at the end. */

#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_BYTES 65536          /* the longest line, its newline included */
#define QUEUE_BYTES (1024 * 1024) /* what waits for one client before every sender has to wait */
#define STALL_SECONDS 1.0         /* a client whose queue stays full for so long is sent away */

struct queue;

struct client {
    int fd;
    size_t place;          /* in `room` */
    uint32_t interest;     /* what epoll watches for it */
    char *rest;            /* the beginning of a line, its end not read yet */
    size_t rest_bytes;
    size_t queued_bytes;   /* what `queue` holds */
    bool full;             /* queued_bytes went above QUEUE_BYTES, and is not back at three quarters of it */
    double full_since;     /* seconds, monotonic */
    bool gone;
    struct client *next_gone;
    struct queue *queue;   /* what the kernel has not taken yet */
};

/* Everyone who is connected. Clients may leave while one walks over it backwards. */
extern struct client **room;
extern size_t room_count;

/* End a client: it is out of `room` at once, and its memory is freed at the end of the turn. */
void leave(struct client *client);

/* To be called whenever queued_bytes has changed: POLLOUT is watched while it is not 0, and senders wait when it is too
   much. */
void queue_changed(struct client *client);

/* Memory or the end of the program. */
void *need(void *memory);

/* What each relay gives. */
bool option(const char *word); /* whether the relay has this option; it is then set */
struct queue *queue_new(void);
void queue_free(struct queue *queue);
void take(struct client *from, const char *lines, size_t bytes); /* whole lines of one recv: once per client and turn */
void flush(struct client *client);                               /* its socket takes bytes again */
void end_of_turn(void);                                          /* all that was readable has been taken */

#endif
