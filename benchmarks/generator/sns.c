/* SNS: one message published to a topic reaches three queues, which are emptied.
 *
 * Each connection publishes ten messages, one a request, then takes from each queue ten at a time
 * until it is empty. A message is one that was received and deleted, so three for each published.
 */
#include "bench.h"
#include <unistd.h>

enum { QUEUES = 3, PUBLISHES = 10 };
enum { PUBLISHING, RECEIVING, DELETING };

static char topic_arn[512], queue_urls[QUEUES][512], *body;
static uint64_t published, deleted;

typedef struct {
  Connection *connection;
  int publishes, queue; /* in this round; which one is emptied */
} Client;
static Client *clients;

static void call(Connection *c, const Buffer *form, const char *element, char *to, size_t size) {
  aws_query(&c->out, "sns", form);
  Response response = http_call(c);
  copy_element(&response, element, to, size);
}

static void subscribe(Connection *c, int number) {
  char name[64], queue_arn[512], subscription_arn[512];
  snprintf(name, sizeof name, "bench-%d-%d", (int)getpid(), number);
  sqs_create_queue(c, name, queue_urls[number], sizeof queue_urls[number]);
  sqs_queue_arn(c, queue_urls[number], queue_arn, sizeof queue_arn);
  Buffer form = {0};
  buffer_format(&form, "Action=Subscribe&Version=2010-03-31&Protocol=sqs&TopicArn=");
  aws_escape(&form, topic_arn);
  buffer_format(&form, "&Endpoint=");
  aws_escape(&form, queue_arn);
  buffer_format(&form, "&ReturnSubscriptionArn=true");
  if (options.raw)
    buffer_format(&form, "&Attributes.entry.1.key=RawMessageDelivery&Attributes.entry.1.value=true");
  call(c, &form, "SubscriptionArn", subscription_arn, sizeof subscription_arn);
}

static void publish(Client *client) {
  static Buffer form;
  buffer_clear(&form);
  buffer_format(&form, "Action=Publish&Version=2010-03-31&TopicArn=");
  aws_escape(&form, topic_arn);
  buffer_format(&form, "&Message=%s", body);
  client->connection->state = PUBLISHING;
  client->publishes++;
  published++;
  aws_query(&client->connection->out, "sns", &form);
}

static void receive(Client *client, int queue) {
  client->queue = queue;
  client->connection->state = RECEIVING;
  sqs_receive(&client->connection->out, queue_urls[queue], 10);
}

static void next_round(Client *client) {
  /* others may have taken what we published: don't let the queues grow */
  if (published * QUEUES - deleted >= (uint64_t)QUEUES * PUBLISHES * options.connections) {
    receive(client, 0);
    return;
  }
  client->publishes = 0;
  publish(client);
}

static void next_step(Connection *c, const Response *response) {
  Client *client = &clients[c->number];
  switch (c->state) {
  case PUBLISHING:
    if (client->publishes < PUBLISHES) publish(client);
    else receive(client, 0);
    return;
  case RECEIVING:
    c->pending = sqs_take_handles(response);
    if (c->pending) {
      c->state = DELETING;
      sqs_delete(&c->out, queue_urls[client->queue], false);
      return;
    }
    http.empty++;
    if (client->queue + 1 < QUEUES) receive(client, client->queue + 1);
    else next_round(client);
    return;
  case DELETING:
    sqs_check_batch(response);
    if (response->status == 200) deleted += c->pending;
    if (c->pending == 10) receive(client, client->queue);
    else if (client->queue + 1 < QUEUES) receive(client, client->queue + 1);
    else next_round(client);
  }
}

void load_sns(void) {
  body = malloc(options.size + 1);
  memset(body, 'x', options.size);
  body[options.size] = 0;
  clients = calloc(options.connections, sizeof *clients);
  for (int i = 0; i < options.connections; i++) {
    clients[i].connection = connection_open();
    clients[i].connection->number = i;
  }
  Buffer form = {0};
  buffer_format(&form, "Action=CreateTopic&Version=2010-03-31&Name=bench-%d", (int)getpid());
  call(clients[0].connection, &form, "TopicArn", topic_arn, sizeof topic_arn);
  for (int i = 0; i < QUEUES; i++) subscribe(clients[0].connection, i);
  for (int i = 0; i < options.connections; i++) {
    publish(&clients[i]);
    http_watch(clients[i].connection, next_step);
  }
  http_measure(&deleted);
}
