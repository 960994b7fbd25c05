/* A progress line on a terminal: phase, bar, amount, rate and time left, over all guests together.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tool.h"

#define GUESTS 256 /* beyond that many the line counts only the first */
#define BAR    30

struct amount {
	char guest[65];
	uint64_t done, total;
};

struct tool_progress {
	char phase[32];
	uint64_t began, drawn;
	struct amount of[GUESTS];
	size_t n;
};

struct tool_progress *tool_progress_new(void)
{
	if (!isatty(STDERR_FILENO))
		return NULL;
	return calloc(1, sizeof(struct tool_progress));
}

static struct amount *amount_of(struct tool_progress *p, const char *guest)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->of[i].guest, guest) == 0)
			return &p->of[i];
	if (p->n == GUESTS)
		return NULL;
	snprintf(p->of[p->n].guest, sizeof(p->of[0].guest), "%s", guest);
	return &p->of[p->n++];
}

static void draw(struct tool_progress *p)
{
	uint64_t done = 0, total = 0;
	char bar[BAR + 1], a[16], b[16], r[16];
	double s, rate;
	int full;

	for (size_t i = 0; i < p->n; i++) {
		done += p->of[i].done;
		total += p->of[i].total;
	}
	if (!total) {
		fprintf(stderr, "\r\033[K%s ...", p->phase);
		return;
	}
	if (done > total)
		done = total;
	full = (int)(BAR * done / total);
	memset(bar, '.', BAR);
	memset(bar, '#', (size_t)full);
	bar[BAR] = '\0';
	s = (double)(vckpt_now() - p->began) / VCKPT_S;
	rate = s > 0 ? (double)done / s : 0;
	fprintf(stderr, "\r\033[K%-8s [%s] %3d %%  %s of %s  %s/s", p->phase, bar,
		(int)(100 * done / total), tool_bytes(a, (double)done),
		tool_bytes(b, (double)total), tool_bytes(r, rate));
	if (rate > 0)
		fprintf(stderr, "  %.0f s left", (double)(total - done) / rate);
}

void tool_progress_show(struct tool_progress *p, const struct vckpt_progress *s)
{
	struct amount *a;

	if (strcmp(p->phase, s->phase) != 0) {
		snprintf(p->phase, sizeof(p->phase), "%s", s->phase);
		p->began = vckpt_now();
		p->drawn = p->n = 0;
	}
	a = s->guest ? amount_of(p, s->guest) : NULL;
	if (a) {
		a->done = s->done;
		a->total = s->total;
	}
	if (p->drawn && vckpt_now() - p->drawn < 100 * VCKPT_MS)
		return;
	p->drawn = vckpt_now();
	draw(p);
}

void tool_progress_free(struct tool_progress *p)
{
	if (!p)
		return;
	fprintf(stderr, "\r\033[K");
	free(p);
}

int tool_progress_tick(const struct vckpt_cluster_ctx *ctx, const char *phase, const char *guest,
		       uint64_t done, uint64_t total, struct vckpt_error *err)
{
	const struct vckpt_progress p = {phase, guest, done, total};
	struct pollfd cancel = {.fd = ctx->cancel_fd, .events = POLLIN};

	ctx->progress(ctx->progress_arg, &p);
	if (poll(&cancel, 1, 0) > 0)
		return vckpt_fail(err, VCKPT_ECANCELED, "guest %s: its %s is given up", guest,
				  phase);
	return 0;
}
