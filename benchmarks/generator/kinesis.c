/* Kinesis by its JSON protocol: each connection has a stream of one shard, writes a hundred records
 * with one PutRecords, and reads them with GetRecords. A message is a record that was read.
 */
#include "bench.h"
#include <ctype.h>
#include <unistd.h>

enum { RECORDS = 100 };
enum { WRITING, READING };

typedef struct {
  Connection *connection;
  char stream[64], iterator[1024];
  int unread;
} Client;
static Client *clients;
static Buffer records; /* the members of a PutRecords, the same each time */
static uint64_t read_records;

static void add_request(Buffer *out, const char *operation, const Buffer *json) {
  char target[64];
  snprintf(target, sizeof target, "Kinesis_20131202.%s", operation);
  aws_json(out, "kinesis", "1.1", target, json);
}

static void put(Client *client) {
  static Buffer json;
  buffer_clear(&json);
  buffer_format(&json, "{\"StreamName\":\"%s\",\"Records\":[", client->stream);
  buffer_add(&json, buffer_bytes(&records), buffer_length(&records));
  buffer_format(&json, "]}");
  client->connection->state = WRITING;
  client->unread += RECORDS;
  add_request(&client->connection->out, "PutRecords", &json);
}

static void get(Client *client) {
  static Buffer json;
  buffer_clear(&json);
  buffer_format(&json, "{\"ShardIterator\":\"%s\",\"Limit\":1000}", client->iterator);
  client->connection->state = READING;
  add_request(&client->connection->out, "GetRecords", &json);
}

static void check_written(const Response *response) {
  const char key[] = "\"FailedRecordCount\"";
  const uint8_t *end = response->body + response->body_length;
  const uint8_t *count = memmem(response->body, response->body_length, key, sizeof key - 1);
  if (!count) return;
  for (count += sizeof key - 1; count < end && !isdigit(*count);) count++;
  if (count < end && *count != '0') http.errors++;
}

static int count_records(const Response *response) {
  const char key[] = "\"PartitionKey\"";
  const uint8_t *at = response->body, *end = at + response->body_length;
  int count = 0;
  while ((at = memmem(at, end - at, key, sizeof key - 1))) {
    at += sizeof key - 1;
    count++;
  }
  return count;
}

static void next_step(Connection *c, const Response *response) {
  Client *client = &clients[c->number];
  if (c->state == WRITING) {
    check_written(response);
    get(client);
    return;
  }
  int count = count_records(response);
  if (response->status == 200)
    copy_string(response, "NextShardIterator", client->iterator, sizeof client->iterator);
  if (!count) http.empty++;
  read_records += count;
  client->unread -= count;
  if (client->unread > 0) get(client);
  else put(client);
}

static void open_stream(Client *client) {
  Connection *c = client->connection;
  char shard[128];
  Buffer json = {0};
  buffer_format(&json, "{\"StreamName\":\"%s\",\"ShardCount\":1}", client->stream);
  add_request(&c->out, "CreateStream", &json);
  http_call(c);
  for (int tries = 0;; tries++) {
    buffer_clear(&json);
    buffer_format(&json, "{\"StreamName\":\"%s\"}", client->stream);
    add_request(&c->out, "DescribeStream", &json);
    Response response = http_call(c);
    if (memmem(response.body, response.body_length, "\"ACTIVE\"", 8)) {
      copy_string(&response, "ShardId", shard, sizeof shard);
      break;
    }
    if (tries > 100) die("a new stream does not get ACTIVE");
    usleep(100000);
  }
  buffer_clear(&json);
  buffer_format(&json,
                "{\"StreamName\":\"%s\",\"ShardId\":\"%s\",\"ShardIteratorType\":\"TRIM_HORIZON\"}",
                client->stream, shard);
  add_request(&c->out, "GetShardIterator", &json);
  Response response = http_call(c);
  copy_string(&response, "ShardIterator", client->iterator, sizeof client->iterator);
}

static void make_records(void) {
  int padding = (3 - options.size % 3) % 3;
  for (int i = 0; i < RECORDS; i++) {
    buffer_format(&records, "%s{\"Data\":\"", i ? "," : "");
    for (int j = 0; j < (options.size + 2) / 3 * 4 - padding; j++) buffer_byte(&records, 'A');
    buffer_format(&records, "%.*s\",\"PartitionKey\":\"p%d\"}", padding, "==", i);
  }
}

void load_kinesis(void) {
  make_records();
  clients = calloc(options.connections, sizeof *clients);
  for (int i = 0; i < options.connections; i++) {
    clients[i].connection = connection_open();
    clients[i].connection->number = i;
    snprintf(clients[i].stream, sizeof clients[i].stream, "bench-%d-%d", (int)getpid(), i);
    open_stream(&clients[i]);
  }
  for (int i = 0; i < options.connections; i++) {
    put(&clients[i]);
    http_watch(clients[i].connection, next_step);
  }
  http_measure(&read_records);
}
