/* SQS by its JSON protocol: cycles of send, receive, delete; and receiving from a deep queue. */
#include "bench.h"
#include <ctype.h>
#include <unistd.h>

enum { SENT, RECEIVING, DELETING }; /* what a connection awaits the answer of */

static char queue_url[512], *body;
static Connection **connections;
static uint64_t sent, deleted;
static Buffer handles; /* receipt handles of one response, each NUL-terminated */
static int handle_count;

static void add_request(Buffer *out, const char *operation, const Buffer *json) {
  char target[64];
  snprintf(target, sizeof target, "AmazonSQS.%s", operation);
  aws_json(out, "sqs", "1.0", target, json);
}

/* A new JSON document that begins with a queue's URL. */
static Buffer *begin_json(const char *url) {
  static Buffer json;
  buffer_clear(&json);
  buffer_format(&json, "{\"QueueUrl\":\"%s\"", url);
  return &json;
}

static void request_send(Connection *c, int batch) {
  Buffer *json = begin_json(queue_url);
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

void sqs_receive(Buffer *out, const char *url, int limit) {
  Buffer *json = begin_json(url);
  buffer_format(json, ",\"MaxNumberOfMessages\":%d,\"WaitTimeSeconds\":0}", limit);
  add_request(out, "ReceiveMessage", json);
}

int sqs_take_handles(const Response *response) {
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
  return handle_count;
}

void sqs_delete(Buffer *out, const char *url, bool one) {
  Buffer *json = begin_json(url);
  const char *handle = (const char *)buffer_bytes(&handles);
  if (one) buffer_format(json, ",\"ReceiptHandle\":\"%s\"}", handle);
  else {
    buffer_format(json, ",\"Entries\":[");
    for (int i = 0; i < handle_count; i++, handle += strlen(handle) + 1)
      buffer_format(json, "%s{\"Id\":\"%d\",\"ReceiptHandle\":\"%s\"}", i ? "," : "", i, handle);
    buffer_format(json, "]}");
  }
  add_request(out, one ? "DeleteMessage" : "DeleteMessageBatch", json);
}

void sqs_create_queue(Connection *c, const char *name, char *url, size_t size) {
  Buffer json = {0};
  buffer_format(&json, "{\"QueueName\":\"%s\"}", name);
  add_request(&c->out, "CreateQueue", &json);
  Response response = http_call(c);
  copy_string(&response, "QueueUrl", url, size);
}

void sqs_queue_arn(Connection *c, const char *url, char *arn, size_t size) {
  Buffer *json = begin_json(url);
  buffer_format(json, ",\"AttributeNames\":[\"QueueArn\"]}");
  add_request(&c->out, "GetQueueAttributes", json);
  Response response = http_call(c);
  copy_string(&response, "QueueArn", arn, size);
}

static void request_receive(Connection *c, int batch) {
  c->state = RECEIVING;
  sqs_receive(&c->out, queue_url, batch);
}

static void request_delete(Connection *c, int batch) {
  c->state = DELETING;
  c->pending = handle_count;
  sqs_delete(&c->out, queue_url, batch == 1);
}

void sqs_check_batch(const Response *response) {
  const uint8_t *end = response->body + response->body_length;
  const uint8_t *failed = memmem(response->body, response->body_length, "\"Failed\"", 8);
  if (!failed) return;
  failed += 8;
  while (failed < end && (isspace(*failed) || *failed == ':' || *failed == '[')) failed++;
  if (failed < end && *failed == '{') http.errors++;
}

static void set_up(void) {
  body = malloc(options.size + 1);
  memset(body, 'x', options.size);
  body[options.size] = 0;
  connections = calloc(options.connections, sizeof *connections);
  for (int i = 0; i < options.connections; i++) connections[i] = connection_open();
  char name[64];
  snprintf(name, sizeof name, "bench-%d", (int)getpid());
  sqs_create_queue(connections[0], name, queue_url, sizeof queue_url);
}

static void next_step(Connection *c, const Response *response) {
  switch (c->state) {
  case SENT:
    sqs_check_batch(response);
    request_receive(c, options.batch);
    return;
  case RECEIVING:
    if (sqs_take_handles(response)) {
      request_delete(c, options.batch);
      return;
    }
    http.empty++;
    break;
  case DELETING:
    sqs_check_batch(response);
    if (response->status == 200) deleted += c->pending;
    break;
  }
  /* a receive may give less than was sent: don't let the queue grow */
  if (sent - deleted < (uint64_t)(options.batch * options.connections))
    request_send(c, options.batch);
  else
    request_receive(c, options.batch);
}

void load_sqs(void) {
  set_up();
  for (int i = 0; i < options.connections; i++) {
    request_send(connections[i], options.batch);
    http_watch(connections[i], next_step);
  }
  http_measure(&deleted);
}

static uint64_t stored;

static void next_fill(Connection *c, const Response *response) {
  sqs_check_batch(response);
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
    if (http.errors) die("the server refused messages");
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
    int got = sqs_take_handles(&response);
    received += got;
    if (!got) http.empty++;
  }
  double seconds = (now_ns() - start) / 1e9;
  mark("end");
  http_print(received, seconds);
}
