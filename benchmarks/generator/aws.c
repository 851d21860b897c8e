/* What the loads of AWS services share: requests, and what is read from their answers.
 *
 * Requests carry a signature of the right form, but a wrong one: the servers are set up not to
 * look at it, so that no client's hashing is measured.
 */
#include "bench.h"
#include <ctype.h>
#include <time.h>

static const char *amz_date(void) {
  static char date[32];
  time_t now = time(NULL);
  if (!*date) strftime(date, sizeof date, "%Y%m%dT%H%M%SZ", gmtime(&now));
  return date;
}

static void add_head(Buffer *out, const char *service, const char *content_type,
                     const char *target, size_t length) {
  buffer_format(out,
                "POST / HTTP/1.1\r\n"
                "Host: %s:%d\r\n"
                "Content-Type: %s\r\n"
                "%s%s%s"
                "X-Amz-Date: %s\r\n"
                "Authorization: AWS4-HMAC-SHA256 Credential=test/%.8s/us-east-1/%s/aws4_request, "
                "SignedHeaders=content-type;host;x-amz-date%s, "
                "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7\r\n"
                "Content-Length: %zu\r\n\r\n",
                options.host, options.port, content_type, *target ? "X-Amz-Target: " : "", target,
                *target ? "\r\n" : "", amz_date(), amz_date(), service,
                *target ? ";x-amz-target" : "", length);
}

void aws_json(Buffer *out, const char *service, const char *version, const char *target,
              const Buffer *json) {
  char content_type[64];
  snprintf(content_type, sizeof content_type, "application/x-amz-json-%s", version);
  add_head(out, service, content_type, target, buffer_length(json));
  buffer_add(out, buffer_bytes(json), buffer_length(json));
}

void aws_query(Buffer *out, const char *service, const Buffer *form) {
  add_head(out, service, "application/x-www-form-urlencoded; charset=utf-8", "",
           buffer_length(form));
  buffer_add(out, buffer_bytes(form), buffer_length(form));
}

void aws_escape(Buffer *form, const char *text) {
  for (; *text; text++) {
    if (isalnum(*text) || strchr("-_.~", *text)) buffer_byte(form, *text);
    else buffer_format(form, "%%%02X", (unsigned char)*text);
  }
}

const uint8_t *find_string(const uint8_t *from, const uint8_t *end, const char *key,
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

static void copy_text(const uint8_t *from, size_t length, const char *what, char *to, size_t size,
                      const Response *response) {
  if (!from || length >= size) die("no %s in %.300s", what, (const char *)response->body);
  memcpy(to, from, length);
  to[length] = 0;
}

void copy_string(const Response *response, const char *key, char *to, size_t size) {
  size_t length = 0;
  const uint8_t *end = response->body + response->body_length;
  const uint8_t *from = find_string(response->body, end, key, &length);
  copy_text(from, length, key, to, size, response);
}

void copy_element(const Response *response, const char *name, char *to, size_t size) {
  char tag[64];
  int n = snprintf(tag, sizeof tag, "<%s>", name);
  const uint8_t *from = memmem(response->body, response->body_length, tag, n), *close = NULL;
  if (from) close = memchr(from + n, '<', response->body + response->body_length - from - n);
  copy_text(close ? from + n : NULL, close ? close - from - n : 0, name, to, size, response);
}
