/* Defaults of options: which there are, and the file that sets them. */
#include "settings.h"

#include <errno.h>
#include <ini.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/duration.h"
#include "host/tree/tree.h"

enum kind { TEXT, PATH, CHOICE, ORDER, DRAIN, LEVEL, MIB, SECONDS, TIME, SHARE, COUNT, HOSTS };

static const char *const engines[] = {"background", "stop-copy", NULL};
static const char *const gates[] = {"nic-plug", "socket", "none", NULL};
static const char *const codecs[] = {"auto", "lz4", "zstd", "none", NULL};

static const char *const policies[] = {[VCKPT_HOOKS_FAIL] = "fail",
				       [VCKPT_HOOKS_GO_ON] = "go-on",
				       [VCKPT_HOOKS_NONE] = "none",
				       NULL};

static const char *const no_yes[] = {[VCKPT_FREEZE_NO] = "no", [VCKPT_FREEZE_YES] = "yes", NULL};

static const char *const outside[] = {
	[VCKPT_OUTSIDE_WARN] = "warn", [VCKPT_OUTSIDE_REFUSE] = "refuse", NULL};

#define AT(member) offsetof(struct tool_settings, member)

static const struct setting {
	const char *section, *key;
	enum kind kind;
	size_t at;
	const char *const *choices;
} settings[] = {
	{"vckpt", "store", PATH, AT(store), NULL},
	{"vckpt", "socket", PATH, AT(socket), NULL},
	{"vckpt", "launcher", TEXT, AT(launcher), NULL},
	{"vckpt", "key", PATH, AT(key), NULL},
	{"launch", "width", HOSTS, AT(width), NULL},
	{"launch", "patience", SECONDS, AT(patience_ns), NULL},
	{"checkpoint", "engine", CHOICE, AT(checkpoint.engine), engines},
	{"checkpoint", "gate", CHOICE, AT(checkpoint.gate), gates},
	{"checkpoint", "drain", DRAIN, AT(checkpoint.drain), NULL},
	{"checkpoint", "codec", CHOICE, AT(checkpoint.codec), codecs},
	{"checkpoint", "level", LEVEL, AT(checkpoint.level), NULL},
	{"checkpoint", "limit", MIB, AT(checkpoint.limit), NULL},
	{"checkpoint", "freeze-fs", ORDER, AT(checkpoint.freeze_fs), no_yes},
	{"migrate", "peer", TEXT, AT(peer), NULL},
	{"migrate", "data", TEXT, AT(data), NULL},
	{"outside", "network-file", ORDER, AT(checkpoint.outside[VCKPT_OUTSIDE_FILE]), outside},
	{"outside", "outside-connection", ORDER, AT(checkpoint.outside[VCKPT_OUTSIDE_CONNECTION]),
	 outside},
	{"outside", "launcher", ORDER, AT(checkpoint.outside[VCKPT_OUTSIDE_LAUNCHER]), outside},
	{"outside", "job-hosts", ORDER, AT(checkpoint.outside[VCKPT_OUTSIDE_RANKS]), outside},
	{"outside", "address-lease", ORDER, AT(checkpoint.outside[VCKPT_OUTSIDE_LEASE]), outside},
	{"outside", "host-device", ORDER, AT(checkpoint.outside[VCKPT_OUTSIDE_DEVICE]), outside},
	{"hooks", "policy", ORDER, AT(hooks.policy), policies},
	{"hooks", "limit", SECONDS, AT(hooks.limit_ns), NULL},
	{"deadlines", "prepare", SECONDS, AT(deadlines.prepare_ns), NULL},
	{"deadlines", "quiet", SECONDS, AT(deadlines.quiet_ns), NULL},
	{"deadlines", "pause", SECONDS, AT(deadlines.pause_ns), NULL},
	{"deadlines", "cut", SECONDS, AT(deadlines.cut_ns), NULL},
	{"deadlines", "run", SECONDS, AT(deadlines.run_ns), NULL},
	{"deadlines", "release", SECONDS, AT(deadlines.release_ns), NULL},
	{"deadlines", "capture", SECONDS, AT(deadlines.capture_ns), NULL},
	{"deadlines", "commit", SECONDS, AT(deadlines.commit_ns), NULL},
	{"deadlines", "abort", SECONDS, AT(deadlines.abort_ns), NULL},
	{"deadlines", "destroy", SECONDS, AT(deadlines.destroy_ns), NULL},
	{"deadlines", "restore", SECONDS, AT(deadlines.restore_ns), NULL},
	{"deadlines", "wake", SECONDS, AT(deadlines.wake_ns), NULL},
	{"policy", "slack", SHARE, AT(policy.slack), NULL},
	{"policy", "unknown", TIME, AT(policy.unknown_ns), NULL},
	{"policy", "grace", TIME, AT(policy.grace_ns), NULL},
	{"policy", "rest", TIME, AT(policy.rest_ns), NULL},
	{"policy", "most", COUNT, AT(policy.most), NULL},
	{"policy", "window", TIME, AT(policy.window_ns), NULL},
	{"supervise", "fence", PATH, AT(fence), NULL},
	{"supervise", "fence-options", PATH, AT(fence_options), NULL},
	{"supervise", "mtbf", TIME, AT(mtbf_ns), NULL},
	{"supervise", "slowdown", SHARE, AT(slowdown), NULL},
};
#define NSETTINGS (sizeof(settings) / sizeof(settings[0]))

static int take_text(const struct setting *k, const char *value, const char **to,
		     struct vckpt_error *err)
{
	if (k->kind == PATH && *value != '/')
		return vckpt_fail(err, VCKPT_EUSAGE, "%s takes an absolute path, not '%s'", k->key,
				  value);
	if (!*value)
		return vckpt_fail(err, VCKPT_EUSAGE, "%s has no value", k->key);
	*to = strdup(value);
	return *to ? 0 : vckpt_fail_errno(err, "no memory for %s", k->key);
}

/* Which of them it is; a name itself, or (ORDER) its place in the list. */
static int take_choice(const struct setting *k, const char *value, void *to,
		       struct vckpt_error *err)
{
	char all[128] = "";
	size_t used = 0;

	for (size_t i = 0; k->choices[i]; i++) {
		if (strcmp(k->choices[i], value) == 0) {
			if (k->kind == ORDER)
				*(unsigned *)to = (unsigned)i;
			else
				*(const char **)to = k->choices[i];
			return 0;
		}
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "",
					 k->choices[i]);
	}
	return vckpt_fail(err, VCKPT_EUSAGE, "%s does not know '%s': it takes one of %s", k->key,
			  value, all);
}

static int take_number(const struct setting *k, const char *value, void *to,
		       struct vckpt_error *err)
{
	static const struct {
		const char *what;
		double least, most;
	} kinds[] = {
		[LEVEL] = {"level", 0, 22},
		[HOSTS] = {"number of hosts", 1, VCKPT_TREE_WIDTH_MAX},
		[MIB] = {"number of MiB a second", 1, 1 << 20},
		[SECONDS] = {"number of seconds", 0.001, 86400},
	};
	double least = kinds[k->kind].least, most = kinds[k->kind].most, n;
	char *end;
	bool whole;

	n = strtod(value, &end);
	whole = k->kind == SECONDS || n == floor(n);
	if (end == value || *end || !whole || !(n >= least && n <= most))
		return vckpt_fail(err, VCKPT_EUSAGE, "%s takes a %s from %g to %g, not '%s'",
				  k->key, kinds[k->kind].what, least, most, value);
	if (k->kind == LEVEL)
		*(int *)to = (int)n;
	else if (k->kind == HOSTS)
		*(unsigned *)to = (unsigned)n;
	else
		*(uint64_t *)to =
			k->kind == MIB ? (uint64_t)n << 20 : (uint64_t)(n * (double)VCKPT_S);
	return 0;
}

static int take_share(const struct setting *k, const char *value, double *to,
		      struct vckpt_error *err)
{
	char *end;
	double n = strtod(value, &end);

	if (end == value || *end || !(n >= 0 && n <= 1))
		return vckpt_fail(err, VCKPT_EUSAGE, "%s takes a share from 0 to 1, not '%s'",
				  k->key, value);
	*to = n;
	return 0;
}

static int take_count(const struct setting *k, const char *value, unsigned *to,
		      struct vckpt_error *err)
{
	char *end;
	double n = strtod(value, &end);

	if (end == value || *end || n != floor(n) || !(n >= 0 && n <= VCKPT_POLICY_MOST))
		return vckpt_fail(err, VCKPT_EUSAGE, "%s takes a number from 0 to %d, not '%s'",
				  k->key, VCKPT_POLICY_MOST, value);
	*to = (unsigned)n;
	return 0;
}

static int take(const struct setting *k, struct tool_settings *s, const char *value,
		struct vckpt_error *err)
{
	void *to = (char *)s + k->at;

	switch (k->kind) {
	case TEXT:
	case PATH:
		return take_text(k, value, to, err);
	case CHOICE:
	case ORDER:
		return take_choice(k, value, to, err);
	case DRAIN:
		return vckpt_drain_parse(value, to, err);
	case TIME:
		return vckpt_duration_parse(value, k->key, to, err);
	case SHARE:
		return take_share(k, value, to, err);
	case COUNT:
		return take_count(k, value, to, err);
	default:
		return take_number(k, value, to, err);
	}
}

static const struct setting *find(const char *section, const char *key)
{
	for (size_t i = 0; i < NSETTINGS; i++)
		if (strcmp(settings[i].section, section) == 0 && strcmp(settings[i].key, key) == 0)
			return &settings[i];
	return NULL;
}

/* inih cuts longer names of sections off. */
#define SECTION_MOST 48
#define CLUSTER      "cluster "

static int take_cluster(struct tool_settings *s, const char *section, const char *key,
			const char *value, struct vckpt_error *err)
{
	static const struct setting path = {"cluster NAME", "key", PATH, 0, NULL};
	const char *name = section + strlen(CLUSTER);
	struct tool_cluster_settings *c;

	if (strlen(section) >= SECTION_MOST)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "[%s] is too long: say --key where that cluster is adopted",
				  section);
	for (c = s->clusters; c; c = c->next)
		if (strcmp(c->name, name) == 0)
			return vckpt_fail(err, VCKPT_EUSAGE, "%s is set twice", key);
	c = calloc(1, sizeof(*c));
	if (!c || !(c->name = strdup(name)))
		return vckpt_fail_errno(err, "no memory for %s", key);
	c->next = s->clusters;
	s->clusters = c;
	return take_text(&path, value, &c->key, err);
}

const char *tool_settings_key(const struct tool_settings *s, const char *cluster)
{
	for (const struct tool_cluster_settings *c = s->clusters; c; c = c->next)
		if (strcmp(c->name, cluster) == 0)
			return c->key;
	return s->key;
}

int tool_setting(struct tool_settings *s, const char *section, const char *key, const char *value,
		 struct vckpt_error *err)
{
	const struct setting *k = find(section, key);

	if (tool_policy_section(section, key) && strlen(section) < SECTION_MOST)
		return tool_policy_setting(&s->policy, section, key, value, err);
	if (strncmp(section, CLUSTER, strlen(CLUSTER)) == 0 && strcmp(key, "key") == 0)
		return take_cluster(s, section, key, value, err);
	if (!k)
		return vckpt_fail(err, VCKPT_EUSAGE, "there is no setting '%s' in [%s]", key,
				  section);
	return take(k, s, value, err);
}

/* ---- the file ---- */

struct reading {
	struct tool_settings *s;
	FILE *f;
	unsigned line, wrong; /* wrong: the line of the first mistake, 0 none */
	bool seen[NSETTINGS];
	struct vckpt_error why;
};

static void mistake(struct reading *r, unsigned line)
{
	if (!r->wrong)
		r->wrong = line;
}

/* A line for inih, which cuts longer ones in two and does not mind one that breaks off. */
static char *next_line(char *room, int size, void *arg)
{
	struct reading *r = arg;
	size_t len;

	if (r->wrong || !fgets(room, size, r->f))
		return NULL;
	r->line++;
	len = strlen(room);
	if (len && room[len - 1] == '\n')
		return room;
	vckpt_fail(&r->why, VCKPT_EUSAGE, "%s",
		   feof(r->f) ? "the file ends in the middle of a line" : "the line is too long");
	mistake(r, r->line);
	return NULL;
}

static int on_value(void *arg, const char *section, const char *key, const char *value)
{
	struct reading *r = arg;
	const struct setting *k = find(section, key);

	if (r->wrong)
		return 0;
	if (k && r->seen[k - settings])
		vckpt_fail(&r->why, VCKPT_EUSAGE, "%s is set twice", key);
	else if (tool_setting(r->s, section, key, value, &r->why) == 0 && k)
		r->seen[k - settings] = true;
	if (r->why.code)
		mistake(r, r->line);
	return r->why.code == VCKPT_OK;
}

static int read_file(const char *path, struct reading *r, struct vckpt_error *err)
{
	int line = ini_parse_stream(next_line, r, on_value, r);

	if (ferror(r->f))
		return vckpt_fail_errno(err, "cannot read %s", path);
	/* What inih itself does not understand comes without a sentence, and may come first. */
	if (line > 0 && (!r->wrong || (unsigned)line < r->wrong))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "%s:%d: this is neither [section] nor name = value", path, line);
	if (r->wrong)
		return vckpt_fail(err, VCKPT_EUSAGE, "%s:%u: %s; vckpt.conf(5) has all settings",
				  path, r->wrong, r->why.text);
	return line < 0 ? vckpt_fail(err, VCKPT_ESYSTEM, "no memory for %s", path) : 0;
}

int tool_settings_load(struct tool_settings *s, struct vckpt_error *err)
{
	const char *given = getenv("VCKPT_CONFIG");
	const char *path = given && *given ? given : TOOL_SETTINGS_FILE;
	struct tool_settings fresh = {.checkpoint.drain = VCKPT_DRAIN_PREFER,
				      .slowdown = VCKPT_PAST_SLOWDOWN};
	struct reading r = {.s = &fresh, .f = fopen(path, "re")};
	int rc;

	vckpt_policy_defaults(&fresh.policy);
	*s = fresh;
	if (!r.f && errno == ENOENT && path != given)
		return 0;
	if (!r.f)
		return vckpt_fail_errno(err, "cannot read the settings in %s", path);
	rc = read_file(path, &r, err);
	fclose(r.f);
	if (rc == 0) {
		*s = fresh;
		s->checkpoint.deadlines = s->deadlines;
		s->checkpoint.hooks = s->hooks;
	}
	return rc;
}
