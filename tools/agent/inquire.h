/* inquire.h: the pure parts of inquire.c. */
#ifndef VCKPT_AGENT_INQUIRE_H
#define VCKPT_AGENT_INQUIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* File systems whose files live outside the guest. */
bool vckpt_is_network_fs(const char *type);
/* The type of mount `id` in a text of the form of /proc/PID/mountinfo (proc(5)). */
int vckpt_mount_type(const char *mountinfo, int id, char *type, size_t len);
/* Open flags and mount of a text of the form of /proc/PID/fdinfo/FD. */
int vckpt_fdinfo(const char *text, int *flags, int *mount);
/* Do two names, with or without a domain, mean one host? */
bool vckpt_same_host(const char *a, const char *b);
/* The first IPv4 address in the way a launcher writes where it listens
 * ("123.0;tcp://10.0.0.1:4711"). */
int vckpt_launcher_ip(const char *launcher, uint8_t ip[16]);

#endif
