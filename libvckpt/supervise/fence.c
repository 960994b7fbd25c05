#include "supervise/fence.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hooks.h"
#include "supervise/command.h"

#define LIMIT      (60 * VCKPT_S)
#define LOOK       (1 * VCKPT_S) /* between two looks at the status */
#define STATUS_OFF 2

struct call {
	const struct vckpt_fence *f;
	const char *host;
	struct vckpt_command command;
	char said[200]; /* the last one's first line */
};

static int run(struct call *c, const char *action, int *status, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;
	int n = asprintf(&text, "action=%s\nplug=%s\nnodename=%s\n%s", action, c->host, c->host,
			 c->f->options ? c->f->options : "");

	if (n < 0) {
		text = NULL;
		return vckpt_fail_errno(err, "no memory to fence host %s", c->host);
	}
	c->command.input = text;
	return vckpt_command_run(&c->command, c->said, sizeof(c->said), status, err);
}

static int refuse(const struct call *c, const char *action, int status, struct vckpt_error *err)
{
	char how[48] = "did not end in time";

	if (status >= 0)
		snprintf(how, sizeof(how), "ended with status %d", status);
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "host %s is not known to be off: %s, action=%s, %s%s%s", c->host,
			  c->f->command, action, how, *c->said ? ": " : "", c->said);
}

int vckpt_fence_off(const struct vckpt_fence *f, const char *host, int cancel,
		    struct vckpt_error *err)
{
	struct call c = {.f = f,
			 .host = host,
			 .command = {.path = f->command,
				     .deadline = vckpt_now() + (f->limit_ns ? f->limit_ns : LIMIT),
				     .cancel = cancel}};
	int status = 0;

	if (vckpt_hook_check(f->command, err) < 0 || run(&c, "off", &status, err) < 0)
		return -1;
	if (status != 0)
		return refuse(&c, "off", status, err);
	/* Some say so when they have asked for it only. */
	for (;;) {
		if (run(&c, "status", &status, err) < 0)
			return -1;
		if (status == STATUS_OFF)
			return 0;
		if (status < 0 || vckpt_command_pause(&c.command, -1, LOOK))
			return refuse(&c, "status", status, err);
	}
}
