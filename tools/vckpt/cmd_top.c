/* vckpt top: all clusters of a store, their hosts and guests, as they are just now; again and
 * again. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/duration.h"
#include "supervise/report.h"
#include "supervise/view.h"
#include "tool.h"

#define EVERY (2 * VCKPT_S)
/* Another screen without a cursor, and back. */
#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

struct top {
	struct tool *tool;
	char *cluster;
	uint64_t every_ns;
	bool once;
	struct vckpt_store *store;
	struct vckpt_cluster_ctx ctx;
	json_t *views, *before; /* this look's and the last one's */
	uint64_t looked, looked_before;
	bool screen, keys; /* it has a terminal to write to, to read from */
	struct termios was;
};

enum { OPT_ONCE = 1, OPT_INTERVAL };

static const struct argp_option options[] = {
	{"interval", OPT_INTERVAL, "TIME", 0, "from one look to the next (default 2s)", 0},
	{"once", OPT_ONCE, 0, 0, "look once, print it and end", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct top *o = state->input;

	switch (key) {
	case OPT_INTERVAL:
		o->every_ns = tool_time(arg, "--interval", state);
		if (o->every_ns < VCKPT_S / 10)
			argp_error(state, "--interval must be 0.1s or more");
		return 0;
	case OPT_ONCE:
		o->once = true;
		return 0;
	case ARGP_KEY_END:
		if (o->once && o->every_ns)
			argp_error(state, "--once looks once: --interval says nothing then");
		return 0;
	default:
		return tool_take_cluster(&o->cluster, key, arg, state);
	}
}

static const struct argp argp = {
	options,
	parse,
	"[CLUSTER]",
	"Shows a cluster, or all of the store, with their hosts and guests: what runs, what is "
	"under "
	"way, who looks after it, and of which host somebody says that it will fail.  q ends it.",
	NULL,
	NULL,
	NULL};

/* ---- looking ---- */

static int add_view(struct top *o, char *name, struct vckpt_error *err)
{
	json_t *view;

	o->ctx.cluster = name;
	if (vckpt_view(&o->ctx, o->store, &o->tool->settings.policy, &view, err) < 0)
		return -1;
	json_array_append_new(o->views, view);
	return 0;
}

static int look(struct top *o, struct vckpt_error *err)
{
	char **names = NULL;
	size_t n = 0;
	int rc = 0;

	json_decref(o->before);
	o->before = o->views;
	o->looked_before = o->looked;
	o->views = json_array();
	o->looked = vckpt_now();
	if (o->cluster)
		return add_view(o, o->cluster, err);
	rc = vckpt_store_clusters(o->store, &names, &n, err);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add_view(o, names[i], err);
	vckpt_store_free_names(names, n);
	return rc;
}

/* ---- telling ---- */

static const char *ago(char out[VCKPT_DURATION_TEXT], double since_ns)
{
	double ns = (double)vckpt_wallclock() - since_ns;

	return vckpt_duration_text(out, ns > 0 ? (uint64_t)(ns / VCKPT_S) * VCKPT_S : 0);
}

static const json_t *same_before(const struct top *o, const json_t *view)
{
	const json_t *one;
	size_t i;

	json_array_foreach (o->before, i, one)
		if (strcmp(tool_string(one, "cluster"), tool_string(view, "cluster")) == 0)
			return one;
	return NULL;
}

static void tell_busy(FILE *to, const struct top *o, const json_t *view)
{
	const json_t *busy = json_object_get(view, "busy"), *was = same_before(o, view);
	double s = (double)(o->looked - o->looked_before) / VCKPT_S;
	double more = tool_number(busy, "bytes") - tool_number(was, "busy.bytes");
	char a[VCKPT_DURATION_TEXT], b[16], r[16];

	if (!json_is_object(busy))
		return;
	fprintf(to, "  %s by %s for %s", tool_string(busy, "purpose"), tool_string(busy, "who"),
		ago(a, tool_number(busy, "since")));
	if (tool_number(busy, "epoch") > 0) {
		fprintf(to, ": epoch %.0f, %s written", tool_number(busy, "epoch"),
			tool_bytes(b, tool_number(busy, "bytes")));
		if (tool_number(was, "busy.epoch") == tool_number(busy, "epoch") && s > 0 &&
		    more >= 0)
			fprintf(to, ", %s/s", tool_bytes(r, more / s));
	}
	fputc('\n', to);
}

static void tell_cluster(FILE *to, const struct top *o, const json_t *view)
{
	const json_t *supervisor = json_object_get(view, "supervisor");
	char a[VCKPT_DURATION_TEXT];

	fprintf(to, "%s: %s", tool_string(view, "cluster"), tool_string(view, "state"));
	if (json_object_get(view, "error")) {
		fprintf(to, ": %s\n", tool_string(view, "error"));
		return;
	}
	fprintf(to, ", incarnation %.0f, ", tool_number(view, "incarnation"));
	if (tool_number(view, "epoch_ns") > 0)
		fprintf(to, "epoch %.0f of %s ago", tool_number(view, "epoch"),
			ago(a, tool_number(view, "epoch_ns")));
	else
		fprintf(to, "no checkpoint");
	if (json_is_object(supervisor))
		fprintf(to, ", looked after by %s on %s\n", tool_string(supervisor, "who"),
			tool_string(supervisor, "host"));
	else
		fprintf(to, ", nobody looks after it\n");
	tell_busy(to, o, view);
}

static void tell_words(FILE *to, const json_t *host)
{
	const json_t *w;
	size_t i;

	json_array_foreach (json_object_get(host, "words"), i, w) {
		double left = tool_number(w, "due_ns") - (double)vckpt_wallclock();
		char a[VCKPT_DURATION_TEXT];

		fprintf(to, "    %s says %.2g", tool_string(w, "source"), tool_number(w, "chance"));
		if (json_object_get(w, "due_ns") && left > 0)
			fprintf(to, " in %s",
				vckpt_duration_text(a, (uint64_t)(left / VCKPT_S) * VCKPT_S));
		else if (json_object_get(w, "due_ns"))
			fprintf(to, ", its time is over");
		fprintf(to, "%s%s\n", *tool_string(w, "text") ? ": " : "", tool_string(w, "text"));
	}
}

static const char *host_of(const json_t *o)
{
	const char *name = tool_string(o, "host");

	return *name ? name : VCKPT_REPORT_HERE;
}

static void tell_host(FILE *to, const json_t *view, const json_t *host)
{
	const json_t *g;
	char free_[16];
	size_t i;

	fprintf(to, "  %-16s %-8s", host_of(host), tool_string(host, "state"));
	if (tool_number(host, "detail.memory_free") > 0)
		fprintf(to, " %10s free",
			tool_bytes(free_, tool_number(host, "detail.memory_free")));
	if (json_is_true(json_object_get(host, "suspected")))
		fputs("  is to fail", to);
	fprintf(to, "  %s\n", tool_string(host, "error"));
	tell_words(to, host);
	json_array_foreach (json_object_get(view, "guests"), i, g)
		if (strcmp(host_of(g), host_of(host)) == 0)
			fprintf(to, "    %-16s %-10s %s\n", tool_string(g, "guest"),
				tool_string(g, "state"), tool_string(g, "error"));
}

/* Is a host told of with an earlier cluster? */
static bool told_before(const json_t *views, size_t upto, const char *host)
{
	const json_t *one;
	size_t k;

	for (size_t i = 0; i < upto; i++)
		json_array_foreach (json_object_get(json_array_get(views, i), "hosts"), k, one)
			if (strcmp(tool_string(one, "host"), host) == 0)
				return true;
	return false;
}

/* How many of what is there are so; guests are each cluster's own, hosts are not. */
static unsigned count(const json_t *views, const char *list, const char *state, unsigned *all)
{
	const json_t *view, *one;
	unsigned n = 0;
	size_t i, k;

	*all = 0;
	json_array_foreach (views, i, view)
		json_array_foreach (json_object_get(view, list), k, one) {
			if (strcmp(list, "hosts") == 0 &&
			    told_before(views, i, tool_string(one, "host")))
				continue;
			++*all;
			n += strcmp(tool_string(one, "state"), state) == 0;
		}
	return n;
}

static void tell(FILE *to, const struct top *o)
{
	unsigned hosts, guests, up = count(o->views, "hosts", "up", &hosts);
	unsigned run = count(o->views, "guests", "running", &guests);
	const json_t *view, *host;
	char when[32];
	size_t i, k;

	fprintf(to, "%s  %s: %zu cluster%s, %u of %u hosts up, %u of %u guests run\n",
		tool_when(when, vckpt_wallclock()), o->tool->store, json_array_size(o->views),
		json_array_size(o->views) == 1 ? "" : "s", up, hosts, run, guests);
	json_array_foreach (o->views, i, view) {
		fputc('\n', to);
		tell_cluster(to, o, view);
		json_array_foreach (json_object_get(view, "hosts"), k, host)
			tell_host(to, view, host);
	}
}

/* ---- the screen ---- */

/* Bytes of the line that fit into so many columns; each character counts as one. */
static size_t fits(const char *line, size_t len, unsigned columns)
{
	size_t n = 0;

	for (unsigned c = 0; n < len; c++) {
		if (c == columns)
			break;
		do
			n++;
		while (n < len && ((unsigned char)line[n] & 0xC0) == 0x80);
	}
	return n;
}

static void draw(const char *text)
{
	struct winsize w = {0};
	const char *end;

	/* A serial console may say that it has no size. */
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || !w.ws_row || !w.ws_col) {
		w.ws_row = 24;
		w.ws_col = 80;
	}
	fputs("\033[H", stdout);
	for (unsigned row = 1; *text; row++, text = end + 1) {
		size_t len;

		end = strchr(text, '\n');
		len = (size_t)(end - text);
		if (row == w.ws_row && end[1]) {
			fputs("...\033[K", stdout);
			break;
		}
		fwrite(text, 1, fits(text, len, w.ws_col), stdout);
		/* A newline in the last row would scroll. */
		fputs(row == w.ws_row ? "\033[K" : "\033[K\n", stdout);
	}
	fputs("\033[J", stdout);
}

static void enter(struct top *o)
{
	struct termios raw;

	o->screen = isatty(STDOUT_FILENO) && !o->once && !o->tool->json;
	if (!o->screen)
		return;
	o->keys = tcgetattr(STDIN_FILENO, &o->was) == 0;
	if (o->keys) {
		raw = o->was;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	fputs(ENTER, stdout);
}

static void leave(struct top *o)
{
	if (!o->screen)
		return;
	fputs(LEAVE, stdout);
	fflush(stdout);
	if (o->keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &o->was);
}

static int show(struct top *o, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;
	size_t len;
	FILE *f;

	if (o->tool->json) {
		if (o->once)
			tool_print_json(o->views);
		else
			json_dumpf(o->views, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
		if (!o->once)
			putchar('\n');
		fflush(stdout);
		return 0;
	}
	f = open_memstream(&text, &len);
	if (!f)
		return vckpt_fail_errno(err, "no memory to tell of %zu clusters",
					json_array_size(o->views));
	tell(f, o);
	if (fclose(f) != 0)
		return vckpt_fail_errno(err, "no memory for a text");
	if (o->screen)
		draw(text);
	else
		fputs(text, stdout);
	fflush(stdout);
	return 0;
}

/* Until the next look; true: it is to end. */
static bool rest(const struct top *o)
{
	struct pollfd p[] = {{.fd = o->ctx.cancel_fd, .events = POLLIN},
			     {.fd = o->keys ? STDIN_FILENO : -1, .events = POLLIN}};
	uint64_t every = o->every_ns ? o->every_ns : EVERY;
	char key = 0;

	poll(p, 2, (int)(every / VCKPT_MS));
	if (p[1].revents && read(STDIN_FILENO, &key, 1) != 1)
		return true;
	return p[0].revents || key == 'q';
}

static int live(struct top *o, struct vckpt_error *err)
{
	int rc;

	enter(o);
	do {
		rc = look(o, err);
		if (rc == 0)
			rc = show(o, err);
	} while (rc == 0 && !o->once && !rest(o));
	leave(o);
	return rc < 0 && err->code == VCKPT_ECANCELED ? 0 : rc;
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct top o = {.tool = t};
	int rc = -1;

	tool_parse(t, &argp, "top", argc, argv, &o);
	o.store = vckpt_store_open(t->store, &err);
	if (o.store)
		rc = tool_context(t, "top", o.cluster, &o.ctx, &err);
	/* Its line on the standard error would be in the way. */
	tool_progress_free(t->progress);
	t->progress = NULL;
	o.ctx.progress = NULL;
	if (rc == 0)
		rc = live(&o, &err);
	json_decref(o.views);
	json_decref(o.before);
	vckpt_store_close(o.store);
	return rc < 0 ? tool_failed(t, "top", &err) : 0;
}

const struct tool_command tool_top = {"top", "show clusters, hosts and guests, again and again",
				      run};
