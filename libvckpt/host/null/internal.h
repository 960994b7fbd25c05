/* host/null/internal.h: the simulated world, as its files see it. */
#ifndef VCKPT_HOST_NULL_INTERNAL_H
#define VCKPT_HOST_NULL_INTERNAL_H

#include "base/clock.h"
#include "host/null/null.h"

#define BUCKETS   4096
#define RULES_MAX 64
#define OPS       32

/* Something that will happen: the answer to a request, or the end of a capture. */
struct job {
	struct job *next;
	uint64_t due;
	struct vckpt_host_request req; /* op VCKPT_NULL_CAPTURE: the end of one */
	enum vckpt_null_way way;
	uint16_t code;
	const char *detail;
};

struct null_host {
	struct vckpt_host h;
	struct vckpt_null_world *w;
	struct null_host *next;
	int timer;
	bool gone;
	uint64_t cut_until; /* 0: it is heard */
	char cluster[VCKPT_NAME_MAX], store[VCKPT_PATH_MAX];
	struct job *jobs; /* by due, then as they came */
};

/* A guest on a host.  One that is moved has several, of which one may live. */
struct place {
	struct vckpt_null_guest g;
	struct place *same_hash;
};

struct vckpt_null_world {
	struct vckpt_null_config config;
	struct place **places;
	unsigned n_places, n_names;
	struct place *buckets[BUCKETS]; /* by name */
	struct vckpt_null_rule rules[RULES_MAX];
	bool limited[RULES_MAX];
	unsigned n_rules;
	struct null_host *hosts;
	uint32_t durable, incarnation; /* incarnation, epoch: newest pair seen */
	uint64_t epoch;
	unsigned asked[OPS];
	unsigned seed;
	char violation[300], unrest[300];
};

static inline uint64_t vckpt_null_clock(const struct vckpt_null_world *w)
{
	return w->config.clock ? w->config.clock(w->config.clock_arg) : vckpt_now();
}

/* world.c: what is asked, done to the model; g NULL: the host has no such guest. */
int vckpt_null_perform(struct null_host *h, struct vckpt_null_guest *g,
		       const struct vckpt_host_request *req, struct vckpt_error *err);
/* Whatever is under way with a guest is undone; its QEMU ends. */
void vckpt_null_undo(struct null_host *h, struct vckpt_null_guest *g);
void vckpt_null_die(struct vckpt_null_guest *g);
/* When the memory of a guest that stands still is read, though not stored yet; 0: it is. */
uint64_t vckpt_null_read_at(const struct null_host *h, const char *guest);

#endif
