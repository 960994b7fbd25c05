/*
 * repair-kit.h: a store with three epochs of a guest, of which the first two share pages; and what
 * a repair of it did.  On top of pages-kit.h.
 */
#ifndef REPAIR_KIT_H
#define REPAIR_KIT_H

#include "cluster/repair.h"

/* 2 is built upon 1; 3 shares nothing with them. */
static const struct content is[] = {{1, 0, 0, 0}, {1, 2, 10, 0}, {5, 0, 0, 0}};

/* Nobody has a lease of it then. */
static void fill_store(struct fix *f)
{
	for (int i = 0; i < 3; i++) {
		struct vckpt_receipt r;

		epoch_of(f, n1, &is[i], 1, 0, &r);
		vckpt_receipt_clear(&r);
	}
	vckpt_lease_release(f->lease);
	f->lease = NULL;
}

static json_t *repair(struct fix *f, bool apply)
{
	const struct vckpt_repair_request q = {.who = "test", .apply = apply};
	json_t *report = NULL;

	OK(f, vckpt_cluster_repair(f->store, HEAT, &q, &report, &f->err));
	CU_ASSERT_PTR_NOT_NULL_FATAL(report);
	return report;
}

static size_t count(const json_t *report, const char *what)
{
	const json_t *d;
	size_t i, n = 0;

	json_array_foreach (json_object_get(report, "deeds"), i, d)
		n += strcmp(json_string_value(json_object_get(d, "what")), what) == 0;
	return n;
}

#endif
