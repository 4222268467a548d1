/* member_address.h: where a member is reached, as people and the journal's membership write it:
 * HOST:PEER_PORT:CLIENT_PORT with a numeric host, as in 127.0.0.1:7300:7400 or [::1]:7300:7400. */
#ifndef ASSAY_MASTER_MEMBER_ADDRESS_H
#define ASSAY_MASTER_MEMBER_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#define MEMBER_ADDRESS_SIZE 96 /* with the NUL; that of journal.h */

struct member_address {
  char host[64]; /* without brackets */
  uint16_t peer_port;
  char client_address[72]; /* "host:port", as clients take it */
};

/* False when the text has not that form; whether the host is an address is for others to say. */
bool member_address_parse(const char *text, struct member_address *address);

#endif
