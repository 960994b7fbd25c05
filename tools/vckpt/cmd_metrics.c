/* vckpt metrics: what is known of clusters, for Prometheus: printed, into a file, or by HTTP. */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "supervise/metrics.h"
#include "tool.h"

#define EVERY (30 * VCKPT_S)

struct metrics {
	struct tool *tool;
	char *cluster, *listen;
	const char *file;
	uint64_t every_ns;
	bool no_hosts;
	struct vckpt_store *store;
	struct vckpt_cluster_ctx ctx;
	struct event_base *base;
	int code; /* of the end */
};

enum { OPT_LISTEN = 1, OPT_FILE, OPT_EVERY, OPT_NO_HOSTS };

static const struct argp_option options[] = {
	{"listen", OPT_LISTEN, "ADDRESS:PORT", 0,
	 "answer GET /metrics there, until this is stopped (Ctrl-C)", 0},
	{"file", OPT_FILE, "FILE", 0,
	 "write it into this file, again and again until this is stopped, whole each time", 0},
	{"every", OPT_EVERY, "TIME", 0, "that often (default 30s)", 0},
	{"no-hosts", OPT_NO_HOSTS, 0, 0, "read the store only: no host is asked", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct metrics *o = state->input;

	switch (key) {
	case OPT_LISTEN:
		o->listen = arg;
		return 0;
	case OPT_FILE:
		o->file = arg;
		return 0;
	case OPT_EVERY:
		o->every_ns = tool_time(arg, "--every", state);
		if (o->every_ns < VCKPT_S / 10)
			argp_error(state, "--every must be 0.1s or more");
		return 0;
	case OPT_NO_HOSTS:
		o->no_hosts = true;
		return 0;
	case ARGP_KEY_END:
		if (o->listen && o->file)
			argp_error(state, "--listen and --file are two things: run it twice");
		if (o->every_ns && !o->file)
			argp_error(state, "--every goes with --file");
		return 0;
	default:
		return tool_take_cluster(&o->cluster, key, arg, state);
	}
}

static const struct argp argp = {
	options,
	parse,
	"[CLUSTER]",
	"Tells what is known of a cluster, or of all in the store, in Prometheus' text format.",
	NULL,
	NULL,
	NULL};

/* ---- gathering ---- */

static int gather_all(struct metrics *o, struct vckpt_metrics *m,
		      const struct vckpt_metrics_options *opt, struct vckpt_error *err)
{
	char **names = NULL;
	size_t n = 0;
	int rc = vckpt_store_clusters(o->store, &names, &n, err);

	for (size_t i = 0; i < n && rc == 0; i++) {
		o->ctx.cluster = names[i];
		rc = vckpt_metrics_add(m, &o->ctx, o->store, opt, err);
	}
	o->ctx.cluster = NULL;
	vckpt_store_free_names(names, n);
	return rc;
}

/* A new one, or NULL. */
static struct vckpt_metrics *gather(struct metrics *o, struct vckpt_error *err)
{
	const struct tool_settings *s = &o->tool->settings;
	const struct vckpt_metrics_options opt = {.policy = &s->policy,
						  .slowdown = s->slowdown,
						  .mtbf_ns = s->mtbf_ns,
						  .hosts = !o->no_hosts};
	struct vckpt_metrics *m = vckpt_metrics_new();
	int rc;

	if (!m) {
		vckpt_fail_errno(err, "no memory for metrics");
		return NULL;
	}
	o->ctx.cluster = o->cluster;
	rc = o->cluster ? vckpt_metrics_add(m, &o->ctx, o->store, &opt, err)
			: gather_all(o, m, &opt, err);
	if (rc == 0)
		return m;
	vckpt_metrics_free(m);
	return NULL;
}

static char *gather_text(struct metrics *o, struct vckpt_error *err)
{
	struct vckpt_metrics *m = gather(o, err);
	char *text = m ? vckpt_metrics_text(m) : NULL;

	if (m && !text)
		vckpt_fail_errno(err, "no memory for metrics");
	vckpt_metrics_free(m);
	return text;
}

/* ---- by HTTP ---- */

static void answer(struct evhttp_request *req, void *arg)
{
	struct metrics *o = arg;
	struct vckpt_error err = VCKPT_ERROR_NONE;
	vckpt_autofree char *text = gather_text(o, &err);

	if (!text) {
		vckpt_log(&o->tool->log, VCKPT_WARN, "metrics", "%s", err.text);
		evhttp_send_error(req, HTTP_SERVUNAVAIL, NULL);
		return;
	}
	evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type",
			  "text/plain; version=0.0.4; charset=utf-8");
	evbuffer_add(evhttp_request_get_output_buffer(req), text, strlen(text));
	evhttp_send_reply(req, HTTP_OK, "OK", NULL);
}

static void on_cancel(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(arg);
}

/* "ADDRESS:PORT", "[ADDRESS]:PORT": cut in place. */
static int split_address(char *word, const char **address, uint16_t *port, struct vckpt_error *err)
{
	char *colon = strrchr(word, ':'), *end;
	unsigned long n = colon ? strtoul(colon + 1, &end, 10) : 0;

	if (!colon || colon == word || end == colon + 1 || *end || n > UINT16_MAX)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "--listen takes ADDRESS:PORT, as 127.0.0.1:9736, not '%s'", word);
	*colon = '\0';
	*address = word;
	if (*word == '[' && colon[-1] == ']') {
		colon[-1] = '\0';
		++*address;
	}
	*port = (uint16_t)n;
	return 0;
}

static int serve(struct metrics *o, struct vckpt_error *err)
{
	struct evhttp_bound_socket *bound;
	const char *address = NULL;
	struct sockaddr_storage at;
	socklen_t len = sizeof(at);
	uint16_t port = 0;
	struct event *cancel;
	struct evhttp *http;

	if (split_address(o->listen, &address, &port, err) < 0)
		return -1;
	o->base = event_base_new();
	http = o->base ? evhttp_new(o->base) : NULL;
	cancel = http ? event_new(o->base, o->ctx.cancel_fd, EV_READ, on_cancel, o->base) : NULL;
	if (!cancel)
		return vckpt_fail_errno(err, "no memory to listen on %s", address);
	bound = evhttp_bind_socket_with_handle(http, address, port);
	if (!bound)
		return vckpt_fail_errno(err, "cannot listen on %s, port %u", address, port);
	evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_max_headers_size(http, 16384);
	evhttp_set_max_body_size(http, 0);
	evhttp_set_timeout(http, 10);
	evhttp_set_cb(http, "/metrics", answer, o);
	if (getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&at, &len) == 0 &&
	    !o->tool->quiet) {
		port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
						      : ((struct sockaddr_in *)&at)->sin_port);
		printf("%s%s%s:%u/metrics\n", strchr(address, ':') ? "[" : "", address,
		       strchr(address, ':') ? "]" : "", port);
		fflush(stdout);
	}
	event_add(cancel, NULL);
	event_base_dispatch(o->base);
	event_free(cancel);
	evhttp_free(http);
	event_base_free(o->base);
	return 0;
}

/* ---- into a file ---- */

static int keep_file(struct metrics *o, struct vckpt_error *err)
{
	struct pollfd stop = {.fd = o->ctx.cancel_fd, .events = POLLIN};
	uint64_t every = o->every_ns ? o->every_ns : EVERY;

	for (;;) {
		vckpt_autofree char *text = gather_text(o, err);

		if (!text && err->code == VCKPT_ECANCELED)
			return 0;
		if (!text || vckpt_replace_file(o->file, text, strlen(text), 0644, err) < 0)
			return -1;
		if (poll(&stop, 1, (int)(every / VCKPT_MS)) > 0)
			return 0;
	}
}

/* ---- once ---- */

static int print_once(struct metrics *o, struct vckpt_error *err)
{
	struct vckpt_metrics *m = gather(o, err);
	vckpt_autofree char *text = NULL;

	if (!m)
		return -1;
	if (o->tool->json) {
		json_t *all = vckpt_metrics_json(m);

		tool_print_json(all);
		json_decref(all);
	} else {
		text = vckpt_metrics_text(m);
		fputs(text ? text : "", stdout);
	}
	vckpt_metrics_free(m);
	return 0;
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct metrics o = {.tool = t};
	int rc = -1;

	tool_parse(t, &argp, "metrics", argc, argv, &o);
	o.store = vckpt_store_open(t->store, &err);
	if (o.store)
		rc = tool_context(t, "metrics", o.cluster, &o.ctx, &err);
	if (rc == 0)
		rc = o.listen ? serve(&o, &err)
		     : o.file ? keep_file(&o, &err)
			      : print_once(&o, &err);
	vckpt_store_close(o.store);
	return rc < 0 ? tool_failed(t, "metrics", &err) : 0;
}

const struct tool_command tool_metrics = {"metrics", "tell what is known, for Prometheus", run};
