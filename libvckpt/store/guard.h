/*
 * store/guard.h: who gets into a store.  Internal to the store.
 *
 * Folders are 0700 and files 0600, whatever the umask.  A store whose folder has the set-group-ID
 * bit is a group's: folders in it are 2770 and files 0660, of that group.  A folder that others may
 * enter is refused; nothing is read or written through a symbolic link, but for folders linked by
 * root or by who asks.  All functions may block; they keep nothing.
 */
#ifndef VCKPT_STORE_GUARD_H
#define VCKPT_STORE_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* The folder of a store, or one in it: VCKPT_EREFUSED, with the cure, if others than its owner (and
 * its group, if it is a group's) may enter it, or if somebody else has put it there. */
int vckpt_guard_folder(const char *path, bool inside, struct vckpt_error *err);

/* Closes a folder that is to become a store to others, and to its group unless it is a group's. */
int vckpt_guard_close(const char *path, struct vckpt_error *err);

/* What a file made at `path` may have; what a folder may. */
mode_t vckpt_guard_file_mode(const char *path);
mode_t vckpt_guard_folder_mode(const char *path);

/* Opens for writing and makes the file, with the mode that it may have; `flags` are O_EXCL or
 * O_APPEND.  -1 with errno. */
int vckpt_guard_create(const char *path, int flags);

/* mkdir() of a folder in a store; -1 with errno. */
int vckpt_guard_mkdir(const char *path);

#endif
