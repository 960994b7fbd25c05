/* watch.h: what guests send, seen outside of them, on their taps. */
#ifndef VCKPT_TESTS_WATCH_H
#define VCKPT_TESTS_WATCH_H

#include <stdint.h>

struct watch {
	int fd;
	uint64_t frames;  /* that one guest sent to anybody, the gate's markers left out */
	uint64_t payload; /* of these, bytes of TCP and UDP behind their headers */
	uint64_t lost;    /* frames that nobody could look at */
};

/* A card in this network namespace; ends the program where that cannot be had. */
void watch_open(struct watch *w, const char *nic);
/* Forgets what came so far: counted is from here. */
void watch_begin(struct watch *w);
/* Adds what came since. */
void watch_end(struct watch *w);
void watch_close(struct watch *w);

#endif
