/* Messages from one publisher to any number of receivers, whatever the protocol: windows, pace, counts.
 *
 * A body is 16 hex digits of time (ns), 16 of a sequence number, and filler.
 */
#include "bench.h"
#include <time.h>
#include <unistd.h>

#define MAX_QUEUED_BYTES 262144 /* the publisher's own send buffer */
#define COALESCE_NS 200000
#define STALL_NS 1000000000ull
#define DRAIN_NS 10000000000ull
#define SILENCE_NS 2000000000ull

struct traffic traffic;
static bool measuring, broken;

static void hex16(uint8_t *out, uint64_t v) {
  for (int i = 15; i >= 0; i--, v >>= 4) out[i] = "0123456789abcdef"[v & 15];
}

static uint64_t unhex16(const uint8_t *text) {
  uint64_t v = 0;
  for (int i = 0; i < 16; i++) v = v << 4 | (text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
  return v;
}

void body_fill(uint8_t *body, uint64_t time) {
  hex16(body, time);
  hex16(body + 16, traffic.sent);
}

void body_received(Connection *c, const uint8_t *body, size_t length) {
  traffic.delivered++;
  if (length != (size_t)options.size) {
    traffic.malformed++;
    return;
  }
  uint64_t then = unhex16(body), sequence = unhex16(body + 16);
  if (sequence != c->sequence) traffic.out_of_order++;
  c->sequence = sequence + 1;
  if (measuring) latency_add(received_at > then ? received_at - then : 0);
}

static void on_end(Connection *c) {
  c->closed = broken = true;
  close(c->fd);
}

void traffic_watch(Connection *c, void (*on_bytes)(Connection *)) {
  c->on_bytes = on_bytes;
  c->on_end = on_end;
  connection_watch(c);
}

/* How many messages may be sent now, by the windows. */
static int64_t room(void) {
  int64_t receivers = traffic.receivers;
  int64_t waiting = (int64_t)(traffic.sent * receivers) - (int64_t)(traffic.delivered + traffic.lost);
  if (waiting < 0) waiting = 0; /* what counted as lost came late */
  int64_t free = options.window - (waiting + receivers - 1) / receivers;
  int64_t unacked = traffic.confirmed ? (int64_t)(traffic.sent - traffic.acked) : 0;
  return unacked > options.unacked - free ? options.unacked - unacked : free;
}

static void publish(Connection *publisher, uint64_t time) {
  traffic.publish(publisher, time);
  traffic.sent++;
}

/* As fast as the windows allow. We look at the sockets at most every COALESCE_NS, so that we read
   and write many messages with one system call and leave the cores to the server. */
static void publish_saturated(Connection *publisher) {
  uint64_t now = now_ns();
  for (int64_t n = room(); n > 0; n--) publish(publisher, now);
  if (buffer_length(&publisher->out)) connection_flush(publisher);
  const struct timespec pause = {.tv_nsec = COALESCE_NS};
  nanosleep(&pause, NULL);
  poll_connections(50000000);
}

/* At a rate. A message carries the time it was due: a late one doesn't hide the delay. */
static void publish_paced(Connection *publisher, uint64_t began) {
  uint64_t step = 1e9 / options.rate, now = now_ns();
  while (began + traffic.sent * step <= now && room() > 0)
    publish(publisher, began + traffic.sent * step);
  if (buffer_length(&publisher->out)) connection_flush(publisher);
  uint64_t due = began + traffic.sent * step, wait = due > now ? due - now : 0;
  poll_connections(wait < 50000000 ? wait : 50000000);
}

/* Wait for what was sent but not received; a silence ends it. */
static void drain(void) {
  uint64_t began = now_ns(), moved = began, last = traffic.delivered + traffic.acked;
  while ((traffic.delivered < traffic.sent * traffic.receivers ||
          (traffic.confirmed && traffic.acked < traffic.sent)) && !broken) {
    poll_connections(50000000);
    uint64_t now = now_ns();
    if (traffic.delivered + traffic.acked != last) {
      last = traffic.delivered + traffic.acked;
      moved = now;
    }
    if (now - moved > SILENCE_NS || now - began > DRAIN_NS) break;
  }
}

void traffic_run(Connection *publisher) {
  uint64_t now = now_ns(), began = now, moved = now, last = 0, start = 0, first = 0;
  uint64_t end = now + (uint64_t)(options.warm * 1e9);
  for (;; now = now_ns()) {
    if (broken) die("the server closed a connection after %lu messages", traffic.delivered);
    if (now >= end) {
      if (measuring) break;
      mark("begin");
      measuring = true;
      start = now_ns();
      end = start + (uint64_t)(options.seconds * 1e9);
      first = traffic.delivered;
    }
    if (traffic.delivered + traffic.acked != last) {
      last = traffic.delivered + traffic.acked;
      moved = now;
    }
    uint64_t expected = traffic.sent * traffic.receivers;
    if (now - moved > STALL_NS && expected > traffic.delivered + traffic.lost) {
      fprintf(stderr, "bench: nothing came for a second, %lu messages count as lost\n",
              expected - traffic.delivered - traffic.lost);
      traffic.lost = expected - traffic.delivered;
      moved = now;
    }
    if (buffer_length(&publisher->out) >= MAX_QUEUED_BYTES) poll_connections(50000000);
    else if (options.rate > 0) publish_paced(publisher, began);
    else publish_saturated(publisher);
  }
  double seconds = (now_ns() - start) / 1e9;
  mark("end");
  measuring = false;
  uint64_t messages = traffic.delivered - first;
  drain();
  printf("{\"messages\": %lu, \"seconds\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
         "\"missing\": %ld, \"out_of_order\": %lu, \"unacked\": %lu, \"errors\": %lu}\n",
         messages, seconds, latency_ms(.5), latency_ms(.99),
         (long)(traffic.sent * traffic.receivers) - (long)traffic.delivered, traffic.out_of_order,
         traffic.confirmed ? traffic.sent - traffic.acked : 0, traffic.malformed);
}
