/* inquire.h: the pure parts of inquire.c. */
#ifndef VCKPT_AGENT_INQUIRE_H
#define VCKPT_AGENT_INQUIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Do two names, with or without a domain, mean one host? */
bool vckpt_same_host(const char *a, const char *b);
/* The first IPv4 address in the way a launcher writes where it listens
 * ("123.0;tcp://10.0.0.1:4711"). */
int vckpt_launcher_ip(const char *launcher, uint8_t ip[16]);

#endif
