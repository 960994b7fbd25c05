/* vckpt hosts: the machines of a cluster, and others that are named. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/remote/remote.h"
#include "tool.h"

struct hosts {
	char *cluster;
	char **more;
	int n;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct hosts *o = state->input;
	struct vckpt_error err = VCKPT_ERROR_NONE;

	switch (key) {
	case ARGP_KEY_ARG:
		if (o->cluster)
			return ARGP_ERR_UNKNOWN; /* the rest comes as ARGP_KEY_ARGS */
		o->cluster = arg;
		return 0;
	case ARGP_KEY_ARGS:
		o->more = state->argv + state->next;
		o->n = state->argc - state->next;
		for (int i = 0; i < o->n; i++)
			if (vckpt_remote_check_name(o->more[i], &err) < 0)
				argp_error(state, "%s", err.text);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	NULL,
	parse,
	"[CLUSTER [HOST...]]",
	"Tells of each host of a cluster whether it answers, what it has and "
	"which guests are there.  Hosts that are named are asked, too, so "
	"that a restart elsewhere can be prepared.",
	NULL,
	NULL,
	NULL};

static const char *version(char buf[32], double v)
{
	unsigned long n = (unsigned long)v;

	snprintf(buf, 32, n ? "QEMU %lu.%lu.%lu" : "no QEMU that runs", n / 1000000 % 1000,
		 n / 1000 % 1000, n % 1000);
	return buf;
}

static void print(const json_t *answer)
{
	bool suspended = json_is_true(json_object_get(answer, "suspended"));
	const json_t *host, *guest;
	size_t i, k;

	json_array_foreach (json_object_get(answer, "hosts"), i, host) {
		char qemu[32], left[16], all[16];

		printf("%-16s %-8s", tool_string(host, "host"), tool_string(host, "state"));
		if (json_object_get(host, "detail"))
			printf(" %s, %.0f processors, %s of %s left",
			       version(qemu, tool_number(host, "detail.qemu")),
			       tool_number(host, "detail.cpus"),
			       tool_bytes(left, tool_number(host, "detail.memory_free")),
			       tool_bytes(all, tool_number(host, "detail.memory")));
		else
			printf(" %s", tool_string(host, "error"));
		json_array_foreach (json_object_get(host, "guests"), k, guest)
			printf("%s%s", k ? " " : "; ", json_string_value(guest));
		if (suspended && json_array_size(json_object_get(host, "guests")))
			printf(" (suspended)");
		printf("\n");
	}
}

static int run(struct tool *t, int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_cluster_ctx ctx;
	struct hosts o = {0};
	json_t *answer = NULL;
	char name[65];
	int rc;

	tool_parse(t, &argp, "hosts", argc, argv, &o);
	rc = tool_pick_cluster(t, o.cluster, name, &err);
	if (rc == 0)
		rc = tool_context(t, "hosts", name, &ctx, &err);
	if (rc == 0)
		rc = vckpt_cluster_hosts(&ctx, (const char *const *)o.more, (size_t)o.n, &answer,
					 &err);
	tool_progress_free(t->progress);
	t->progress = NULL;
	if (rc < 0)
		return tool_failed(t, "hosts", &err);
	if (t->json)
		tool_print_json(answer);
	else
		print(answer);
	json_decref(answer);
	return 0;
}

const struct tool_command tool_hosts = {"hosts", "how the machines of a cluster are", run};
