/* How running guests move: the options of all commands that move some. */
#include "moving.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"

#define DEFAULT_PEER "qemu+ssh://{host}/system"

enum { OPT_PEER = 256, OPT_DATA, OPT_POSTCOPY, OPT_STORAGE, OPT_UNSAFE };

static const struct argp_option options[] = {
	{"deadline", 'd', "SECONDS", 0, "give up, and leave guests where they are, after this time",
	 0},
	{"limit", 'l', "MIB", 0, "send at most so many MiB a second", 0},
	{"postcopy", OPT_POSTCOPY, 0, 0,
	 "let a guest run there before all of it is there, if it would not be over in time", 0},
	{"copy-storage", OPT_STORAGE, 0, 0, "copy disks that the other host does not see", 0},
	{"unsafe", OPT_UNSAFE, 0, 0,
	 "do not mind disks that are cached here: both hosts see the same files all the same", 0},
	{"peer", OPT_PEER, "URI", 0,
	 "libvirt's URI of the other host, as a guest's present host reaches it; {host} is its "
	 "name "
	 "(default " DEFAULT_PEER ")",
	 0},
	{"data", OPT_DATA, "URI", 0,
	 "where QEMU sends a guest's memory: tcp://{host}, unix:///PATH (default: libvirt finds "
	 "out)",
	 0},
	{"why", 'w', "TEXT", 0, "a reason, for the log", 0},
	{0},
};

double tool_positive(const char *arg, const char *option, double most, struct argp_state *state)
{
	char *end;
	double n = strtod(arg, &end);

	if (end == arg || *end || !(n > 0 && n <= most))
		argp_error(state, "--%s takes a number above 0, at most %g, not '%s'", option, most,
			   arg);
	return n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct vckpt_migrate_options *o = state->input;

	switch (key) {
	case 'd':
		o->deadline_ns =
			(uint64_t)(tool_positive(arg, "deadline", 86400, state) * (double)VCKPT_S);
		return 0;
	case 'l':
		o->limit = (uint64_t)ceil(tool_positive(arg, "limit", 1 << 20, state)) << 20;
		return 0;
	case OPT_POSTCOPY:
		o->postcopy = true;
		return 0;
	case OPT_STORAGE:
		o->storage = true;
		return 0;
	case OPT_UNSAFE:
		o->unsafe = true;
		return 0;
	case OPT_PEER:
		o->peer = arg;
		return 0;
	case OPT_DATA:
		o->data = arg;
		return 0;
	case 'w':
		o->why = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

const struct argp tool_moving_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};

void tool_moving_defaults(struct vckpt_migrate_options *opt, const struct tool_settings *settings)
{
	if (!opt->peer)
		opt->peer = settings->peer ? settings->peer : DEFAULT_PEER;
	if (!opt->data)
		opt->data = settings->data;
}
