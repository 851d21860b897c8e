/* STOMP 1.2: one sender to one subscriber of a queue. With --reliable each SEND asks for a receipt,
 * and each message is acknowledged (`ack:client-individual`). */
#include "bench.h"
#include <unistd.h>

static Buffer packet; /* the SEND frame up to its last headers */

typedef struct {
  const uint8_t *body, *ack;
  size_t body_length, ack_length;
  size_t total; /* bytes of the whole frame */
} Frame;

/* Parse the frame at bytes[0..n); false if it is incomplete. */
static bool parse(const uint8_t *bytes, size_t n, Frame *frame) {
  const uint8_t *line = bytes, *limit = bytes + n, *end;
  long length = -1;
  *frame = (Frame){0};
  while ((end = line < limit ? memchr(line, '\n', limit - line) : NULL) && end > line) {
    if (end - line > 15 && !memcmp(line, "content-length:", 15)) length = atol((char *)line + 15);
    if (end - line > 4 && !memcmp(line, "ack:", 4)) {
      frame->ack = line + 4;
      frame->ack_length = end - line - 4;
    }
    line = end + 1;
  }
  if (!end) return false;
  frame->body = end + 1;
  if (length < 0) {
    const uint8_t *nul = memchr(frame->body, 0, limit - frame->body);
    if (!nul) return false;
    length = nul - frame->body;
  }
  frame->body_length = length;
  frame->total = frame->body + length + 1 - bytes;
  return frame->total <= n;
}

/* Pass over what may stand between frames. */
static void skip_ends(Connection *c) {
  while (buffer_length(&c->in) && *buffer_bytes(&c->in) == '\n') c->in.start++;
}

static void check(const uint8_t *frame, size_t length) {
  if (length > 5 && !memcmp(frame, "ERROR", 5)) die("%.*s", (int)length, (const char *)frame);
}

/* Blocking: send what is in `out`, and wait for a frame of that command. */
static void ask(Connection *c, const char *command) {
  connection_send(c);
  for (;;) {
    Frame frame;
    skip_ends(c);
    const uint8_t *p = buffer_bytes(&c->in);
    if (!parse(p, buffer_length(&c->in), &frame)) {
      connection_receive(c);
      continue;
    }
    check(p, frame.total);
    bool wanted = !memcmp(p, command, strlen(command));
    c->in.start += frame.total;
    if (wanted) return;
  }
}

static Connection *connect_client(void) {
  Connection *c = connection_open();
  buffer_format(&c->out, "CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\n\n%c", 0);
  ask(c, "CONNECTED");
  return c;
}

static void on_bytes(Connection *c) {
  for (;;) {
    Frame frame;
    skip_ends(c);
    const uint8_t *p = buffer_bytes(&c->in);
    if (!parse(p, buffer_length(&c->in), &frame)) return;
    check(p, frame.total);
    if (!memcmp(p, "RECEIPT", 7)) traffic.acked++;
    if (!memcmp(p, "MESSAGE", 7)) {
      body_received(c, frame.body, frame.body_length);
      if (options.reliable) {
        buffer_add(&c->out, "ACK\nid:", 7);
        buffer_add(&c->out, frame.ack, frame.ack_length);
        buffer_add(&c->out, "\n\n\0", 3);
      }
    }
    c->in.start += frame.total;
  }
}

static void publish(Connection *publisher, uint64_t time) {
  Buffer *b = &publisher->out;
  buffer_add(b, buffer_bytes(&packet), buffer_length(&packet));
  if (options.reliable) buffer_format(b, "receipt:%lx\n", (unsigned long)traffic.sent);
  buffer_byte(b, '\n');
  buffer_reserve(b, options.size + 1);
  uint8_t *body = b->data + b->end;
  memset(body, 'x', options.size);
  body_fill(body, time);
  body[options.size] = 0;
  b->end += options.size + 1;
}

void load_stomp(void) {
  char queue[64];
  snprintf(queue, sizeof queue, "/queue/bench-%d", (int)getpid());
  Connection *subscriber = connect_client();
  buffer_format(&subscriber->out, "SUBSCRIBE\nid:0\ndestination:%s\nack:%s\nreceipt:s\n\n%c", queue,
                options.reliable ? "client-individual" : "auto", 0);
  ask(subscriber, "RECEIPT");
  traffic_watch(subscriber, on_bytes);
  Connection *sender = connect_client();
  traffic_watch(sender, on_bytes);
  buffer_format(&packet, "SEND\ndestination:%s\ncontent-length:%d\n", queue, options.size);
  traffic.receivers = 1;
  traffic.confirmed = options.reliable;
  traffic.publish = publish;
  traffic_run(sender);
}
