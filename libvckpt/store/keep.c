#include "store/keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)

static int64_t local_seconds(const struct vckpt_keep_epoch *e)
{
	return (int64_t)(e->time_ns / SECOND) + e->utc_offset;
}

static int64_t hour_of(const struct vckpt_keep_epoch *e)
{
	return local_seconds(e) / 3600;
}

static int64_t day_of(const struct vckpt_keep_epoch *e)
{
	return local_seconds(e) / 86400;
}

/* Weeks begin on Monday; 1970 began on a Thursday. */
static int64_t week_of(const struct vckpt_keep_epoch *e)
{
	return (day_of(e) + 3) / 7;
}

static void add_reason(struct vckpt_keep_epoch *e, const char *what, unsigned number)
{
	size_t used = strlen(e->why);

	e->keep = true;
	if (number)
		snprintf(e->why + used, sizeof(e->why) - used, "%s%s %u", used ? ", " : "", what,
			 number);
	else
		snprintf(e->why + used, sizeof(e->why) - used, "%s%s", used ? ", " : "", what);
}

/* No newer one is of the same hour, day or week. */
static bool is_newest_of_its_time(struct vckpt_keep_epoch *const *newest_first, size_t i,
				  int64_t (*time_of)(const struct vckpt_keep_epoch *e))
{
	for (size_t k = 0; k < i; k++)
		if (time_of(newest_first[k]) == time_of(newest_first[i]))
			return false;
	return true;
}

static void keep_each(struct vckpt_keep_epoch *const *newest_first, size_t n, unsigned most,
		      int64_t (*time_of)(const struct vckpt_keep_epoch *e), const char *what)
{
	unsigned kept = 0;

	for (size_t i = 0; i < n && kept < most; i++)
		if (is_newest_of_its_time(newest_first, i, time_of))
			add_reason(newest_first[i], what, ++kept);
}

static int newer_first(const void *a, const void *b)
{
	const struct vckpt_keep_epoch *x = *(struct vckpt_keep_epoch *const *)a;
	const struct vckpt_keep_epoch *y = *(struct vckpt_keep_epoch *const *)b;

	return (x->epoch < y->epoch) - (x->epoch > y->epoch);
}

void vckpt_keep_plan(struct vckpt_keep_epoch *epochs, size_t n,
		     const struct vckpt_keep_rules *rules)
{
	bool any = rules->last || rules->hourly || rules->daily || rules->weekly;
	struct vckpt_keep_epoch **order = calloc(n + 1, sizeof(*order));

	for (size_t i = 0; i < n; i++) {
		epochs[i].keep = !any || !order; /* without memory nothing is dropped */
		epochs[i].why[0] = '\0';
		if (epochs[i].always)
			add_reason(&epochs[i], "needed", 0);
		if (order)
			order[i] = &epochs[i];
	}
	if (order && any && n) {
		qsort(order, n, sizeof(struct vckpt_keep_epoch *), newer_first);
		for (size_t i = 0; i < n && i < rules->last; i++)
			add_reason(order[i], "last", (unsigned)i + 1);
		keep_each(order, n, rules->hourly, hour_of, "hour");
		keep_each(order, n, rules->daily, day_of, "day");
		keep_each(order, n, rules->weekly, week_of, "week");
		if (!order[0]->keep)
			add_reason(order[0], "newest", 0);
	}
	free(order);
}
