/* A relay of lines in C on epoll that gathers what one turn of the loop read, and then sends once to each client.

   The lines of a turn lie one after the other in one batch. A client is sent the batch without its own lines, in one
   sendmsg of at most two pieces; nothing is copied per client. What the kernel does not take waits as references. */

#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define BATCH_BYTES (1024 * 1024) /* more than that in one turn is sent before the turn ends */
#define PIECES_PER_SEND 256

struct batch {
    size_t references;
    size_t bytes;
    size_t size;
    char *lines;
};

struct piece {
    struct batch *batch;
    size_t begin, end;
};

struct queue {
    size_t own_begin, own_end; /* where this client's own lines lie in the batch being gathered */
    size_t first, count, size;
    struct piece *pieces; /* pieces[first .. first + count) */
};

static struct batch *gathered;

bool option(const char *word)
{
    (void)word;
    return false;
}

struct queue *queue_new(void)
{
    return need(calloc(1, sizeof(struct queue)));
}

static void release(struct batch *batch)
{
    if (--batch->references > 0)
        return;
    free(batch->lines);
    free(batch);
}

void queue_free(struct queue *queue)
{
    for (size_t i = 0; i < queue->count; i++)
        release(queue->pieces[queue->first + i].batch);
    free(queue->pieces);
    free(queue);
}

static void append(struct queue *queue, struct piece piece)
{
    if (queue->first + queue->count == queue->size) {
        if (queue->first > queue->size / 2) {
            memmove(queue->pieces, queue->pieces + queue->first, queue->count * sizeof piece);
            queue->first = 0;
        } else {
            queue->size = queue->size ? 2 * queue->size : 8;
            queue->pieces = need(realloc(queue->pieces, queue->size * sizeof piece));
        }
    }
    piece.batch->references++;
    queue->pieces[queue->first + queue->count++] = piece;
}

/* How much the kernel took of the pieces; -1 when the client has gone, and left. */
static ssize_t try_to_send(struct client *client, const struct piece *pieces, size_t count)
{
    struct iovec parts[PIECES_PER_SEND];
    struct msghdr message = {.msg_iov = parts};
    for (; message.msg_iovlen < count && message.msg_iovlen < PIECES_PER_SEND; message.msg_iovlen++) {
        const struct piece *piece = &pieces[message.msg_iovlen];
        parts[message.msg_iovlen] = (struct iovec){piece->batch->lines + piece->begin, piece->end - piece->begin};
    }
    ssize_t sent = sendmsg(client->fd, &message, MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    leave(client);
    return -1;
}

static void deliver(struct client *client, struct batch *batch)
{
    struct queue *queue = client->queue;
    struct piece pieces[2];
    size_t count = 0;
    if (queue->own_end == 0)
        pieces[count++] = (struct piece){batch, 0, batch->bytes};
    else {
        if (queue->own_begin > 0)
            pieces[count++] = (struct piece){batch, 0, queue->own_begin};
        if (queue->own_end < batch->bytes)
            pieces[count++] = (struct piece){batch, queue->own_end, batch->bytes};
        queue->own_begin = queue->own_end = 0;
    }
    if (count == 0)
        return;
    ssize_t sent = client->queued_bytes == 0 ? try_to_send(client, pieces, count) : 0;
    if (sent < 0)
        return;
    size_t before = client->queued_bytes;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = pieces[i].end - pieces[i].begin;
        size_t done = (size_t)sent < bytes ? (size_t)sent : bytes;
        sent -= done;
        pieces[i].begin += done;
        if (done < bytes) {
            append(queue, pieces[i]);
            client->queued_bytes += bytes - done;
        }
    }
    if (client->queued_bytes != before)
        queue_changed(client);
}

void take(struct client *from, const char *lines, size_t bytes)
{
    if (gathered != NULL && gathered->bytes + bytes > BATCH_BYTES)
        end_of_turn();
    if (gathered == NULL) {
        gathered = need(calloc(1, sizeof *gathered));
        gathered->references = 1;
    }
    if (gathered->bytes + bytes > gathered->size) {
        gathered->size = 2 * (gathered->bytes + bytes);
        gathered->lines = need(realloc(gathered->lines, gathered->size));
    }
    memcpy(gathered->lines + gathered->bytes, lines, bytes);
    from->queue->own_begin = gathered->bytes;
    gathered->bytes += bytes;
    from->queue->own_end = gathered->bytes;
}

void end_of_turn(void)
{
    if (gathered == NULL)
        return;
    struct batch *batch = gathered;
    gathered = NULL;
    for (size_t i = room_count; i-- > 0;)
        deliver(room[i], batch);
    release(batch);
}

void flush(struct client *client)
{
    struct queue *queue = client->queue;
    ssize_t sent = try_to_send(client, queue->pieces + queue->first, queue->count);
    if (sent < 0)
        return;
    client->queued_bytes -= sent;
    while (queue->count > 0) {
        struct piece *piece = &queue->pieces[queue->first];
        size_t bytes = piece->end - piece->begin;
        if ((size_t)sent < bytes) {
            piece->begin += sent;
            break;
        }
        sent -= bytes;
        release(piece->batch);
        queue->first++;
        queue->count--;
    }
    if (queue->count == 0)
        queue->first = 0;
    queue_changed(client);
}
