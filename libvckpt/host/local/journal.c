#include "host/local/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "host/local/json.h"

#define FORMAT   1
#define FILE_MAX 16384
#define NAME_ROOM                                                                                  \
	200 /* escaped bytes before a name is cut and hashed; leaves room for the rest             \
	     */

static const char *const stage_names[] = {
	[VCKPT_STAGE_PREPARED] = "prepared", [VCKPT_STAGE_PAUSED] = "paused",
	[VCKPT_STAGE_RUNNING] = "running",   [VCKPT_STAGE_REBUILDING] = "rebuilding",
	[VCKPT_STAGE_REBUILT] = "rebuilt",
};
#define N_STAGES (sizeof(stage_names) / sizeof(stage_names[0]))

const char *vckpt_stage_name(enum vckpt_stage stage)
{
	return (size_t)stage < N_STAGES ? stage_names[stage] : "?";
}

/* "a\nb\n" as an array; NULL for "". */
static json_t *lines_json(const char *text)
{
	json_t *list = *text ? json_array() : NULL;

	for (size_t len; list && *text; text += len + 1) {
		len = strcspn(text, "\n");
		json_array_append_new(list, json_stringn(text, len));
		if (!text[len])
			break;
	}
	return list;
}

/* -1 if it does not fit. */
static int json_lines(const json_t *list, char *to, size_t room)
{
	size_t used = 0, i;
	json_t *one;

	json_array_foreach (list, i, one) {
		const char *s = json_string_value(one);

		if (!s || strchr(s, '\n') || strlen(s) + 1 >= room - used)
			return -1;
		used += (size_t)sprintf(to + used, "%s\n", s);
	}
	return 0;
}

char *vckpt_journal_encode(const struct vckpt_journal_entry *e)
{
	json_auto_t *j = NULL;

	j = json_pack("{si ss ss ss ss ss sI sI sI sI sI ss so* ss*}", "format", FORMAT, "stage",
		      stage_names[e->stage], "cluster", e->cluster, "guest", e->guest, "domain",
		      e->domain, "uuid", e->uuid, "pid", (json_int_t)e->pid, "start",
		      (json_int_t)e->start, "written", (json_int_t)e->written, "epoch",
		      (json_int_t)e->epoch, "incarnation", (json_int_t)e->incarnation, "engine",
		      e->engine, "overlays", lines_json(e->overlays), "store",
		      e->store[0] ? e->store : NULL);
	return j ? json_dumps(j, JSON_INDENT(1)) : NULL;
}

/* Copies a string member; -1 if it does not fit. */
static int take(char *to, size_t room, const char *from)
{
	if (strlen(from) >= room)
		return -1;
	strcpy(to, from);
	return 0;
}

int vckpt_journal_decode(const char *text, size_t len, const char *path,
			 struct vckpt_journal_entry *e, struct vckpt_error *err)
{
	const char *stage, *cluster, *guest, *domain, *uuid, *engine, *store = "";
	json_int_t pid, start, written, epoch, incarnation;
	json_auto_t *j = NULL;
	json_t *overlays = NULL;
	json_error_t je;
	int format;

	memset(e, 0, sizeof(*e));
	j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!j)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is no journal entry: %s", path, je.text);
	if (json_unpack_ex(j, &je, JSON_STRICT, "{si ss ss ss ss ss sI sI sI sI sI ss s?o s?s}",
			   "format", &format, "stage", &stage, "cluster", &cluster, "guest", &guest,
			   "domain", &domain, "uuid", &uuid, "pid", &pid, "start", &start,
			   "written", &written, "epoch", &epoch, "incarnation", &incarnation,
			   "engine", &engine, "overlays", &overlays, "store", &store) < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is no journal entry: %s", path, je.text);
	for (size_t i = VCKPT_STAGE_PREPARED; i < N_STAGES; i++)
		if (strcmp(stage, stage_names[i]) == 0)
			e->stage = (enum vckpt_stage)i;
	if (format != FORMAT || !e->stage || pid < 0 || pid > INT32_MAX || incarnation < 0 ||
	    incarnation > UINT32_MAX || !*domain ||
	    take(e->cluster, sizeof(e->cluster), cluster) < 0 ||
	    take(e->guest, sizeof(e->guest), guest) < 0 ||
	    take(e->domain, sizeof(e->domain), domain) < 0 ||
	    take(e->uuid, sizeof(e->uuid), uuid) < 0 ||
	    take(e->engine, sizeof(e->engine), engine) < 0 ||
	    take(e->store, sizeof(e->store), store) < 0 ||
	    json_lines(overlays, e->overlays, sizeof(e->overlays)) < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is no journal entry: a member is out of its range", path);
	e->pid = (pid_t)pid;
	e->start = (uint64_t)start;
	e->written = (uint64_t)written;
	e->epoch = (uint64_t)epoch;
	e->incarnation = (uint32_t)incarnation;
	return 0;
}

static char *escape(char *to, const char *name)
{
	for (; *name; name++) {
		unsigned char c = (unsigned char)*name;

		if (c == '.' || c == '/' || c == '%' || c < 0x20)
			to += sprintf(to, "%%%02x", c);
		else
			*to++ = (char)c;
	}
	*to = '\0';
	return to;
}

void vckpt_journal_name(const char *cluster, const char *guest, char out[NAME_MAX + 1])
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	char full[2 * 3 * VCKPT_NAME_MAX + 2];
	char *p = escape(full, cluster);

	if (guest) {
		*p++ = '.';
		p = escape(p, guest);
	}
	if ((size_t)(p - full) <= NAME_ROOM) {
		strcpy(out, full);
		return;
	}
	for (const char *q = full; *q; q++)
		hash = (hash ^ (unsigned char)*q) * UINT64_C(0x100000001b3);
	snprintf(out, NAME_MAX + 1, "%.*s%%%016" PRIx64, NAME_ROOM, full, hash);
}

static void entry_path(const char *dir, const char *cluster, const char *guest, char out[PATH_MAX])
{
	char name[NAME_MAX + 1];

	vckpt_journal_name(cluster, guest, name);
	snprintf(out, PATH_MAX, "%s/%s", dir, name);
}

int vckpt_write_aside(const char *path, const char *text, struct vckpt_error *err)
{
	const char *base = strrchr(path, '/') + 1;
	char aside[PATH_MAX + 16];
	vckpt_autofd int fd = -1;

	snprintf(aside, sizeof(aside), "%.*s.%s.new", (int)(base - path), path, base);
	fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return vckpt_fail_errno(err, "cannot write %s", aside);
	if (vckpt_write_full(fd, text, strlen(text), aside, err) < 0) {
		unlink(aside);
		return -1;
	}
	if (rename(aside, path) < 0)
		return vckpt_fail_errno(err, "cannot rename %s to %s", aside, path);
	return 0;
}

int vckpt_journal_write(const char *dir, const struct vckpt_journal_entry *e,
			struct vckpt_error *err)
{
	struct vckpt_journal_entry copy = *e;
	vckpt_autofree char *text = NULL;
	char path[PATH_MAX];

	copy.written = vckpt_clock(CLOCK_BOOTTIME) / (VCKPT_S / (uint64_t)sysconf(_SC_CLK_TCK));
	text = vckpt_journal_encode(&copy);
	if (!text)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for the journal entry of guest %s",
				  e->guest);
	entry_path(dir, e->cluster, e->guest, path);
	return vckpt_write_aside(path, text, err);
}

int vckpt_journal_remove(const char *dir, const char *cluster, const char *guest,
			 struct vckpt_error *err)
{
	char path[PATH_MAX];

	entry_path(dir, cluster, guest, path);
	if (unlink(path) < 0 && errno != ENOENT)
		return vckpt_fail_errno(err, "cannot remove journal entry %s", path);
	return 0;
}

bool vckpt_journal_has(const char *dir, const char *cluster, const char *guest)
{
	char path[PATH_MAX];

	entry_path(dir, cluster, guest, path);
	return access(path, F_OK) == 0;
}

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

int vckpt_journal_walk(const char *dir, vckpt_journal_cb *cb, void *arg, struct vckpt_error *err)
{
	vckpt_auto(close_dir) DIR *d = opendir(dir);
	struct dirent *de;

	if (!d)
		return vckpt_fail_errno(err, "cannot read the journal %s", dir);
	for (;;) {
		struct vckpt_error why = VCKPT_ERROR_NONE;
		struct vckpt_journal_entry e;
		vckpt_autofree char *text = NULL;
		char path[PATH_MAX];
		size_t len;

		errno = 0;
		de = readdir(d);
		if (!de)
			break;
		if (de->d_name[0] == '.') /* also what a killed writer left */
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		if (vckpt_read_file(path, FILE_MAX, &text, &len, &why) < 0 ||
		    vckpt_journal_decode(text, len, path, &e, &why) < 0)
			cb(arg, path, NULL, &why);
		else
			cb(arg, path, &e, NULL);
	}
	if (errno)
		return vckpt_fail_errno(err, "cannot read the journal %s", dir);
	return 0;
}
