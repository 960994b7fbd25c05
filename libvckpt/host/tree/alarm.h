/* host/tree/alarm.h: a descriptor that is readable from an instant on.  It is set anew all the time
 * and mostly to what it was, which costs nothing. */
#ifndef VCKPT_HOST_TREE_ALARM_H
#define VCKPT_HOST_TREE_ALARM_H

#include <stdint.h>

struct vckpt_alarm {
	int fd;      /* to poll for POLLIN; -1: none */
	uint64_t at; /* on vckpt_now()'s clock; UINT64_MAX: never */
};

/* -1 with errno. */
int vckpt_alarm_open(struct vckpt_alarm *a);
/* Rings from `at` on, 0 for at once, until it is heard or set to another time. */
void vckpt_alarm_set(struct vckpt_alarm *a, uint64_t at);
/* If it rings it stops, and is set to never. */
void vckpt_alarm_hear(struct vckpt_alarm *a);
void vckpt_alarm_close(struct vckpt_alarm *a);

#endif
