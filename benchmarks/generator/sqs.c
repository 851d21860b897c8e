/* SQS by its JSON protocol: cycles of send, receive, delete; and receiving from a deep queue.
 *
 * Requests carry a signature of the right form, but a wrong one: the servers are set up not to
 * look at it, so that no client's hashing is measured.
 */
#include "bench.h"
#include <ctype.h>
#include <time.h>
#include <unistd.h>

enum { SENT, RECEIVING, DELETING }; /* what a connection awaits the answer of */

static char queue_url[512], amz_date[32], *body;
static Connection **connections;
static uint64_t sent, deleted, empty, refused;
static Buffer handles; /* receipt handles of one response, each NUL-terminated */
static int handle_count;

static void add_request(Buffer *out, const char *operation, const Buffer *json) {
  buffer_format(out,
                "POST / HTTP/1.1\r\n"
                "Host: %s:%d\r\n"
                "Content-Type: application/x-amz-json-1.0\r\n"
                "X-Amz-Target: AmazonSQS.%s\r\n"
                "X-Amz-Date: %s\r\n"
                "Authorization: AWS4-HMAC-SHA256 Credential=test/%.8s/us-east-1/sqs/aws4_request, "
                "SignedHeaders=content-type;host;x-amz-date;x-amz-target, "
                "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7\r\n"
                "Content-Length: %zu\r\n\r\n",
                options.host, options.port, operation, amz_date, amz_date, buffer_length(json));
  buffer_add(out, buffer_bytes(json), buffer_length(json));
}

/* A new JSON document that begins with the queue's URL. */
static Buffer *begin_json(void) {
  static Buffer json;
  buffer_clear(&json);
  buffer_format(&json, "{\"QueueUrl\":\"%s\"", queue_url);
  return &json;
}

static void request_send(Connection *c, int batch) {
  Buffer *json = begin_json();
  if (batch == 1) buffer_format(json, ",\"MessageBody\":\"%s\"}", body);
  else {
    buffer_format(json, ",\"Entries\":[");
    for (int i = 0; i < batch; i++)
      buffer_format(json, "%s{\"Id\":\"%d\",\"MessageBody\":\"%s\"}", i ? "," : "", i, body);
    buffer_format(json, "]}");
  }
  sent += batch;
  c->state = SENT;
  add_request(&c->out, batch == 1 ? "SendMessage" : "SendMessageBatch", json);
}

static void request_receive(Connection *c, int batch) {
  Buffer *json = begin_json();
  buffer_format(json, ",\"MaxNumberOfMessages\":%d,\"WaitTimeSeconds\":0}", batch);
  c->state = RECEIVING;
  add_request(&c->out, "ReceiveMessage", json);
}

static void request_delete(Connection *c, int batch) {
  Buffer *json = begin_json();
  const char *handle = (const char *)buffer_bytes(&handles);
  if (batch == 1) buffer_format(json, ",\"ReceiptHandle\":\"%s\"}", handle);
  else {
    buffer_format(json, ",\"Entries\":[");
    for (int i = 0; i < handle_count; i++, handle += strlen(handle) + 1)
      buffer_format(json, "%s{\"Id\":\"%d\",\"ReceiptHandle\":\"%s\"}", i ? "," : "", i, handle);
    buffer_format(json, "]}");
  }
  c->state = DELETING;
  c->pending = handle_count;
  add_request(&c->out, batch == 1 ? "DeleteMessage" : "DeleteMessageBatch", json);
}

/* The next string with that key at or after `from`; NULL if there is none. */
static const uint8_t *find_string(const uint8_t *from, const uint8_t *end, const char *key,
                                  size_t *length) {
  char quoted[64];
  int n = snprintf(quoted, sizeof quoted, "\"%s\"", key);
  const uint8_t *value = memmem(from, end - from, quoted, n);
  if (!value) return NULL;
  for (value += n; value < end && (isspace(*value) || *value == ':');) value++;
  if (value == end || *value++ != '"') return NULL;
  const uint8_t *close = value;
  while (close < end && *close != '"') close += *close == '\\' ? 2 : 1;
  if (close >= end) return NULL;
  *length = close - value;
  return value;
}

static void take_handles(const Response *response) {
  const uint8_t *at = response->body, *end = at + response->body_length;
  size_t length;
  buffer_clear(&handles);
  handle_count = 0;
  while ((at = find_string(at, end, "ReceiptHandle", &length))) {
    buffer_add(&handles, at, length);
    buffer_byte(&handles, 0);
    handle_count++;
    at += length;
  }
}

/* A batch is answered with 200 even if the server refused entries. */
static void check_batch(const Response *response) {
  const uint8_t *end = response->body + response->body_length;
  const uint8_t *failed = memmem(response->body, response->body_length, "\"Failed\"", 8);
  if (!failed) return;
  failed += 8;
  while (failed < end && (isspace(*failed) || *failed == ':' || *failed == '[')) failed++;
  if (failed < end && *failed == '{') refused++;
}

static void set_up(void) {
  time_t now = time(NULL);
  strftime(amz_date, sizeof amz_date, "%Y%m%dT%H%M%SZ", gmtime(&now));
  body = malloc(options.size + 1);
  memset(body, 'x', options.size);
  body[options.size] = 0;
  connections = calloc(options.connections, sizeof *connections);
  for (int i = 0; i < options.connections; i++) connections[i] = connection_open();
  Buffer json = {0};
  buffer_format(&json, "{\"QueueName\":\"bench-%d\"}", (int)getpid());
  add_request(&connections[0]->out, "CreateQueue", &json);
  Response response = http_call(connections[0]);
  size_t length;
  const uint8_t *url =
      find_string(response.body, response.body + response.body_length, "QueueUrl", &length);
  if (!url || length >= sizeof queue_url) die("no QueueUrl in %.300s", (const char *)response.body);
  memcpy(queue_url, url, length);
}

static void next_step(Connection *c, const Response *response) {
  switch (c->state) {
  case SENT:
    check_batch(response);
    request_receive(c, options.batch);
    return;
  case RECEIVING:
    take_handles(response);
    if (handle_count) {
      request_delete(c, options.batch);
      return;
    }
    empty++;
    break;
  case DELETING:
    check_batch(response);
    if (response->status == 200) deleted += c->pending;
    break;
  }
  /* a receive may give less than was sent: don't let the queue grow */
  if (sent - deleted < (uint64_t)(options.batch * options.connections))
    request_send(c, options.batch);
  else
    request_receive(c, options.batch);
}

static void print_result(uint64_t messages, double seconds) {
  printf("{\"messages\": %lu, \"seconds\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
         "\"empty\": %lu, \"reconnects\": %lu, \"errors\": %lu}\n",
         messages, seconds, latency_ms(.5), latency_ms(.99), empty, http.reconnects,
         http.errors + refused);
}

void load_sqs(void) {
  set_up();
  for (int i = 0; i < options.connections; i++) {
    request_send(connections[i], options.batch);
    http_watch(connections[i], next_step);
  }
  uint64_t end = now_ns() + (uint64_t)(options.warm * 1e9);
  while (now_ns() < end) poll_connections(10000000);
  mark("begin");
  http.measuring = true;
  uint64_t start = now_ns(), first = deleted;
  end = start + (uint64_t)(options.seconds * 1e9);
  while (now_ns() < end) poll_connections(10000000);
  double seconds = (now_ns() - start) / 1e9;
  mark("end");
  print_result(deleted - first, seconds);
}

static uint64_t stored;

static void next_fill(Connection *c, const Response *response) {
  check_batch(response);
  if (response->status == 200) stored += c->pending;
  else sent -= c->pending;
  long left = options.depth - (long)sent;
  c->pending = left < 10 ? left : 10;
  if (left > 0) request_send(c, c->pending);
}

/* Fill a queue, then receive `count` messages from it, or as many as come in `seconds`: one by one
   on one connection, deleting nothing. */
void load_sqs_receive(void) {
  set_up();
  mark("fill");
  uint64_t start = now_ns(), limit = start + (uint64_t)(options.fill_deadline * 1e9);
  for (int i = 0; i < options.connections; i++) {
    const Response nothing = {.body = (const uint8_t *)""};
    next_fill(connections[i], &nothing);
    http_watch(connections[i], next_fill);
  }
  while (stored < (uint64_t)options.depth) {
    poll_connections(10000000);
    if (http.errors + refused) die("the server refused messages");
    if (now_ns() > limit)
      die("stored %lu of %ld messages in %.0f s", stored, options.depth, options.fill_deadline);
  }
  Connection *receiver = connection_open(); /* one that is idle meanwhile might be closed */
  mark("begin");
  start = now_ns();
  limit = start + (uint64_t)(options.seconds * 1e9);
  long received = 0;
  for (long i = 0; i < options.count && now_ns() < limit; i++) {
    request_receive(receiver, 1);
    uint64_t requested = now_ns();
    Response response = http_call(receiver);
    latency_add(now_ns() - requested);
    take_handles(&response);
    received += handle_count;
    if (!handle_count) empty++;
  }
  double seconds = (now_ns() - start) / 1e9;
  mark("end");
  print_result(received, seconds);
}
