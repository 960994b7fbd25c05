/*
 * host/null/null.h: simulated hosts, for tests.
 *
 * A *world* has guests on hosts; a RESTORE on another host makes a second place of the guest there.
 * Every host of it is a struct vckpt_host like any other; what it is asked it does to a model of
 * the guest, after the delays and with the failures of a script, and it writes down each request
 * that an orderly coordinator must not make ("violations").  Where OPEN named a store, captures are
 * real, if small, ones in it and a RESTORE verifies them. One thread uses a world and all its
 * hosts.  The world must outlive them.
 */
#ifndef VCKPT_HOST_NULL_H
#define VCKPT_HOST_NULL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "host/host.h"

/* Stands for "the capture ends" in rules. */
#define VCKPT_NULL_CAPTURE 200

enum vckpt_null_way {
	VCKPT_NULL_OK,   /* only the delay */
	VCKPT_NULL_FAIL, /* a reply with `code` (the capture: LOST with it), the thing done all the
			    same */
	VCKPT_NULL_SILENT, /* done, never answered; what is asked after it but ABORT and DESTROY
			      waits behind */
	VCKPT_NULL_LOST,   /* done and answered, then the guest dies */
	VCKPT_NULL_BROKEN, /* done and answered, then LOST: the capture broke, the guest lives */
	VCKPT_NULL_GONE, /* the whole host hangs up; it undoes what is under way, as a session's end
			    does */
	VCKPT_NULL_DEAD, /* the whole host dies, with its guests */
	VCKPT_NULL_CUT   /* the host is cut off: it works on what it has, nobody hears of it, and
			    after   config.silence_ns both sides take the other as gone */
};

struct vckpt_null_rule {
	char guest[VCKPT_NAME_MAX]; /* "" any */
	uint16_t op;                /* enum vckpt_host_op or VCKPT_NULL_CAPTURE; 0 any */
	unsigned times;             /* how often it applies, 0 always */
	enum vckpt_null_way way;
	uint16_t code;
	uint64_t delay_ns;
	const char *detail; /* JSON of the reply in the place of the usual one, NULL usual; not
			       copied */
};

struct vckpt_null_guest {
	char name[VCKPT_NAME_MAX], domain[256], host[256];
	bool there; /* a QEMU process lives */
	bool paused, held;
	bool prepared, capturing, cut, read, captured;
	bool disks;    /* it has some: DISK is asked for, once, before CUT */
	bool frozen;   /* they were cut in this epoch */
	bool rebuilt;  /* by a RESTORE, not woken */
	bool stands;   /* its engine is stop-copy: three quarters of its capture are to be read */
	bool old;      /* its host does not know READ: RUN waits */
	bool leaves;   /* the epoch under way is a suspension */
	bool voted;    /* ... and the coordinator may know that it is captured */
	bool migrated; /* off: somebody moved it elsewhere, says libvirt */
	bool leaving;  /* there, but libvirt is moving it */
	bool stuck;    /* a SILENT one */
	bool gone;     /* its host hung up and was not opened anew */
	uint64_t aborted; /* newest epoch of which it was told ABORT */
	uint64_t epoch;   /* of the newest PREPARE, and its incarnation */
	uint32_t in;
	uint64_t committed, restored_from;
	uint32_t incarnation; /* it runs as */
	unsigned prepares, restores;
	char gates[64]; /* as its agent tells them; "nic-plug socket" */
	char gate[16];  /* of the newest HOLD */
};

struct vckpt_null_config {
	uint64_t (*clock)(void *arg); /* NULL: CLOCK_MONOTONIC */
	void *clock_arg;
	uint64_t delay_ns;   /* of every answer */
	uint64_t capture_ns; /* from the cut to CAPTURED */
	unsigned seed;       /* not 0: delays vary between 0 and twice the above */
	uint64_t silence_ns; /* VCKPT_NULL_CUT; 0: as long as real ones */
};

struct vckpt_null_world;

struct vckpt_null_world *vckpt_null_world_new(const struct vckpt_null_config *config);
void vckpt_null_world_free(struct vckpt_null_world *w); /* all its hosts closed; NULL is fine */

/* A guest that runs (there) or is off.  NULL without memory.  Pointers stay valid. */
struct vckpt_null_guest *vckpt_null_world_guest(struct vckpt_null_world *w, const char *host,
						const char *name, const char *domain, bool there);
/* Where it lives; if nowhere, where it was first. */
struct vckpt_null_guest *vckpt_null_world_find(struct vckpt_null_world *w, const char *name);
/* The place on that host, NULL if there is none. */
struct vckpt_null_guest *vckpt_null_world_find_at(struct vckpt_null_world *w, const char *host,
						  const char *name);
int vckpt_null_world_rule(struct vckpt_null_world *w, const struct vckpt_null_rule *rule);
/* The highest incarnation that is durable: a RESTORE of a higher one is a violation.  Starts at
 * UINT32_MAX, "do not look". */
void vckpt_null_world_durable(struct vckpt_null_world *w, uint32_t incarnation);

/* What was asked that must not be: NULL for none, else the first sentence. */
const char *vckpt_null_world_violation(const struct vckpt_null_world *w);
/* The first guest that is paused, held, has a capture open or is half an incarnation; or NULL. */
const char *vckpt_null_world_unrest(const struct vckpt_null_world *w);
/* When the next thing happens by itself; UINT64_MAX: nothing will. */
uint64_t vckpt_null_world_due(const struct vckpt_null_world *w);
/* How many requests of this op came in, all hosts. */
unsigned vckpt_null_world_asked(const struct vckpt_null_world *w, uint16_t op);

/* It hangs up now, as by VCKPT_NULL_GONE. */
void vckpt_null_hang_up(struct vckpt_host *host);

int vckpt_null_open(struct vckpt_null_world *w, const char *name, struct vckpt_host **host,
		    struct vckpt_error *err);

#endif
