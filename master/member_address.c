#include "master/member_address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool member_address_parse(const char *text, struct member_address *address) {
  char *end;
  const char *client = strrchr(text, ':');
  const char *peer = client ? memrchr(text, ':', (size_t)(client - text)) : NULL;
  if (!peer || strlen(text) >= MEMBER_ADDRESS_SIZE)
    return false;
  const size_t host_size = (size_t)(peer - text);
  const bool bracketed = host_size > 2 && text[0] == '[' && peer[-1] == ']';
  const unsigned long peer_port = strtoul(peer + 1, &end, 10);
  if (host_size == 0 || host_size >= sizeof address->host || end != client || peer[1] < '0' ||
      peer[1] > '9' || peer_port > UINT16_MAX || client[1] < '0' || client[1] > '9' ||
      strlen(client) + host_size >= sizeof address->client_address)
    return false;
  snprintf(address->host, sizeof address->host, "%.*s", (int)(host_size - 2 * bracketed), text + bracketed);
  snprintf(address->client_address, sizeof address->client_address, "%.*s%s", (int)host_size, text, client);
  address->peer_port = (uint16_t)peer_port;
  return true;
}
