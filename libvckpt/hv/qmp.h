/*
 * hv/qmp.h: QEMU's monitor protocol, through libvirt.
 */
#ifndef VCKPT_HV_QMP_H
#define VCKPT_HV_QMP_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

struct vckpt_domain;

/*
 * Has QEMU execute `command` with `args` (its reference is taken, NULL: none); fd >= 0 goes along,
 * as getfd wants it, and stays the caller's.  *ret (may be NULL) is a new reference to the answer.
 * Blocks until QEMU answers: a QEMU that hangs holds this call until the domain is destroyed.
 * VCKPT_EVIRT: QEMU or libvirt said no; VCKPT_EPEER: no answer, it may or may not have been done.
 */
int vckpt_qmp(struct vckpt_domain *dom, const char *command, json_t *args, int fd, json_t **ret,
	      struct vckpt_error *err);

/* The pure part: the answer's "return", or the sentence in its "error". */
int vckpt_qmp_parse(const char *text, const char *command, json_t **ret, struct vckpt_error *err);

enum vckpt_migration_state {
	VCKPT_MIGRATION_NONE,
	VCKPT_MIGRATION_ACTIVE, /* or any other state that is not an end */
	VCKPT_MIGRATION_COMPLETED,
	VCKPT_MIGRATION_FAILED /* or cancelled */
};

struct vckpt_migration {
	enum vckpt_migration_state state;
	char text[200];    /* why it failed */
	char blocked[200]; /* why none can begin; "" */
};

/* Pure: reads the answer to query-migrate. */
void vckpt_qmp_migration(const json_t *ret, struct vckpt_migration *m);

int vckpt_qmp_query_migrate(struct vckpt_domain *dom, struct vckpt_migration *m,
			    struct vckpt_error *err);

/* The migration capability background-snapshot. */
int vckpt_qmp_background(struct vckpt_domain *dom, bool on, struct vckpt_error *err);
/* 1 on, 0 off. */
int vckpt_qmp_is_background(struct vckpt_domain *dom, struct vckpt_error *err);

#endif
