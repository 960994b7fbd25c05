#include "store/room.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/statvfs.h>

static bool say(struct vckpt_room *r, const char *state, const char *cure, const char *what,
		uint64_t kib)
{
	r->state = state;
	r->cure = cure;
	if (kib == UINT64_MAX)
		snprintf(r->text, sizeof(r->text), "%s", what);
	else
		snprintf(r->text, sizeof(r->text), "%s: %llu KiB are free", what,
			 (unsigned long long)kib);
	return true;
}

bool vckpt_room_wanting(const char *path, struct vckpt_room *r)
{
	static const char make_room[] = "make room there: `vckpt prune`, or elsewhere on that disk";
	struct statvfs fs;
	uint64_t left;

	if (statvfs(path, &fs) < 0)
		return false;
	if (fs.f_flag & ST_RDONLY)
		return say(r, "read-only",
			   "see why (dmesg), and mount it to be written to again (mount -o "
			   "remount,rw)",
			   "its file system is mounted read-only, so nothing can be written there",
			   UINT64_MAX);
	left = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (left < VCKPT_ROOM_LITTLE)
		return say(r, "full", make_room,
			   "its file system is full, so nothing can be written there", left >> 10);
	/* Some file systems have no such number. */
	if (fs.f_files && !fs.f_favail)
		return say(r, "full", make_room,
			   "its file system takes no more files, so nothing can be written there",
			   UINT64_MAX);
	return false;
}
