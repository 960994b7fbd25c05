/*
 * store/room.h: can anything be written into the folder of a store?
 */
#ifndef VCKPT_STORE_ROOM_H
#define VCKPT_STORE_ROOM_H

#include <stdbool.h>

/* So little is called full: an entry, its lease and what is written aside of them take some KiB. */
#define VCKPT_ROOM_LITTLE (1u << 20)

struct vckpt_room {
	const char *state; /* "full", "read-only" */
	const char *cure;
	char text[256]; /* a sentence without the path */
};

/* False: nothing is known that would keep us from it, and *r is not touched.  May block as long as
 * the file system does. */
bool vckpt_room_wanting(const char *path, struct vckpt_room *r);

#endif
