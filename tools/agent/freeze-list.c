/* freeze-list.c: which file systems of a guest can stand still.  Pure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "freeze.h"

bool vckpt_fs_freezes(const char *type)
{
	static const char *const names[] = {"ext2", "ext3", "ext4",   "xfs",      "btrfs",
					    "f2fs", "jfs",  "nilfs2", "reiserfs", "bcachefs"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(type, names[i]) == 0)
			return true;
	return false;
}

/* Blanks and the like are written as \040. */
static bool unescape(const char *from, size_t n, char *to, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		if (used + 1 >= size)
			return false;
		if (from[i] == '\\' && i + 3 < n) {
			char octal[4] = {from[i + 1], from[i + 2], from[i + 3], '\0'};

			to[used++] = (char)strtol(octal, NULL, 8);
			i += 3;
		} else {
			to[used++] = from[i];
		}
	}
	to[used] = '\0';
	return true;
}

int vckpt_mount_parse(const char *line, struct vckpt_mount *m)
{
	size_t len = strcspn(line, "\n");
	const char *end = line + len, *dash = strstr(line, " - "), *p, *super;
	int at = 0;
	size_t n;

	memset(m, 0, sizeof(*m));
	if (!dash || dash > end)
		return -1;
	/* id parent major:minor root path options ... - type source super-options */
	if (sscanf(line, "%*d %*d %u:%u %n", &m->major, &m->minor, &at) != 2 || !at)
		return -1;
	p = line + at;
	p += strcspn(p, " ");
	if (*p != ' ' || p >= dash)
		return -1;
	p++;
	n = strcspn(p, " ");
	if (!unescape(p, n, m->path, sizeof(m->path)))
		m->path[0] = '\0';
	p = dash + 3;
	n = strcspn(p, " \n");
	snprintf(m->type, sizeof(m->type), "%.*s", (int)n, p);
	/* Behind it the source, which may be empty but for its blanks. */
	super = end;
	while (super > p && super[-1] != ' ')
		super--;
	m->writable = strncmp(super, "rw", 2) == 0;
	return 0;
}

static void tell(char *why, size_t size, const char *path, const char *what)
{
	size_t used = strlen(why);

	snprintf(why + used, size - used, "%s%.60s: %s", used ? "; " : "", path, what);
}

unsigned vckpt_freeze_choose(const char *mountinfo, const uint64_t *ours, unsigned n_ours,
			     struct vckpt_fs fs[VCKPT_FREEZE_MAX], char *why, size_t size)
{
	unsigned n = 0;

	why[0] = '\0';
	for (const char *l = mountinfo; l && *l; l = strchr(l, '\n'), l = l ? l + 1 : NULL) {
		struct vckpt_mount m;
		bool known = false;
		uint64_t dev;

		if (vckpt_mount_parse(l, &m) < 0 || !m.writable || !vckpt_fs_freezes(m.type))
			continue;
		dev = makedev(m.major, m.minor);
		for (unsigned i = 0; i < n_ours && !known; i++)
			known = ours[i] == dev;
		if (known) {
			tell(why, size, m.path, "vckpt-agent writes to it");
			continue;
		}
		for (unsigned i = 0; i < n && !known; i++)
			known = fs[i].dev == dev;
		if (known)
			continue;
		if (!m.path[0] || n == VCKPT_FREEZE_MAX) {
			tell(why, size, m.path, m.path[0] ? "too many" : "its path is too long");
			continue;
		}
		fs[n].dev = dev;
		memcpy(fs[n++].path, m.path, sizeof(m.path));
	}
	for (unsigned i = 0; i < n / 2; i++) {
		struct vckpt_fs other = fs[i];

		fs[i] = fs[n - 1 - i];
		fs[n - 1 - i] = other;
	}
	return n;
}
