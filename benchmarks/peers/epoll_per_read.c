/* A relay of lines in C on epoll that sends on at once what it has read: one send for each read and client.

   A read brings one line, or the several that a sender had ready. With --per-line they are sent one by one, as simpler
   servers do. What the kernel does not take waits in one buffer per client. */

#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct queue {
    char *bytes;
    size_t size;
    size_t begin; /* what waits is bytes[begin .. begin + queued_bytes) */
};

static bool per_line;

bool option(const char *word)
{
    if (strcmp(word, "--per-line") != 0)
        return false;
    per_line = true;
    return true;
}

struct queue *queue_new(void)
{
    return need(calloc(1, sizeof(struct queue)));
}

void queue_free(struct queue *queue)
{
    free(queue->bytes);
    free(queue);
}

static void enqueue(struct client *client, const char *bytes, size_t count)
{
    struct queue *queue = client->queue;
    size_t wanted = client->queued_bytes + count;
    if (queue->begin + wanted > queue->size) {
        if (client->queued_bytes > 0)
            memmove(queue->bytes, queue->bytes + queue->begin, client->queued_bytes);
        queue->begin = 0;
        if (wanted > queue->size) {
            queue->size = 2 * wanted;
            queue->bytes = need(realloc(queue->bytes, queue->size));
        }
    }
    memcpy(queue->bytes + queue->begin + client->queued_bytes, bytes, count);
    client->queued_bytes = wanted;
    queue_changed(client);
}

/* How much the kernel took; -1 when the client has gone, and left. */
static ssize_t try_to_send(struct client *client, const char *bytes, size_t count)
{
    ssize_t sent = send(client->fd, bytes, count, MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    leave(client);
    return -1;
}

static void deliver(struct client *client, const char *line, size_t bytes)
{
    ssize_t sent = client->queued_bytes == 0 ? try_to_send(client, line, bytes) : 0;
    if (sent >= 0 && (size_t)sent < bytes)
        enqueue(client, line + sent, bytes - sent);
}

static void deliver_to_others(struct client *from, const char *message, size_t bytes)
{
    for (size_t i = room_count; i-- > 0;)
        if (room[i] != from)
            deliver(room[i], message, bytes);
}

void take(struct client *from, const char *lines, size_t bytes)
{
    if (!per_line) {
        deliver_to_others(from, lines, bytes);
        return;
    }
    for (const char *end = lines + bytes; lines < end;) {
        const char *next = (const char *)memchr(lines, '\n', end - lines) + 1;
        deliver_to_others(from, lines, next - lines);
        lines = next;
    }
}

void flush(struct client *client)
{
    struct queue *queue = client->queue;
    ssize_t sent = try_to_send(client, queue->bytes + queue->begin, client->queued_bytes);
    if (sent < 0)
        return;
    queue->begin += sent;
    client->queued_bytes -= sent;
    if (client->queued_bytes == 0) {
        free(queue->bytes);
        *queue = (struct queue){0};
    }
    queue_changed(client);
}

void end_of_turn(void)
{
}
