#include "store/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static bool trusted(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

int vckpt_guard_folder(const char *path, bool inside, struct vckpt_error *err)
{
	struct stat st;

	if (lstat(path, &st) < 0 && errno == ENOENT)
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "folder %s does not exist: name another store (--store), or "
				  "`vckpt adopt` makes one",
				  path);
	if (S_ISLNK(st.st_mode) && !trusted(st.st_uid))
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s is a symbolic link that user %u has put there: name the "
				  "folder itself (--store)",
				  path, st.st_uid);
	if (stat(path, &st) < 0)
		return vckpt_fail_errno(err, "cannot look at folder %s", path);
	/* In a group's store its members make folders, too. */
	if (!trusted(st.st_uid) && !(inside && st.st_mode & S_ISGID))
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "folder %s belongs to user %u, who could read and change what is "
				  "in it: chown it to root",
				  path, st.st_uid);
	if (st.st_mode & 07)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "others may enter folder %s (mode %04o), and memory of guests "
				  "lies there, keys included: chmod -R o= it",
				  path, st.st_mode & 07777);
	if (st.st_mode & 070 && !(st.st_mode & S_ISGID))
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"group %u may enter folder %s (mode %04o), and memory of guests "
			"lies there, keys included: chmod -R g= it, or g+s if that is meant",
			st.st_gid, path, st.st_mode & 07777);
	return 0;
}

int vckpt_guard_close(const char *path, struct vckpt_error *err)
{
	struct stat st;
	mode_t open;

	if (stat(path, &st) < 0)
		return vckpt_fail_errno(err, "cannot look at folder %s", path);
	open = st.st_mode & S_ISGID ? 07 : 077;
	if (!(st.st_mode & open))
		return 0;
	if (chmod(path, st.st_mode & 07777 & ~open) < 0)
		return vckpt_fail_errno(err, "cannot close folder %s to others", path);
	return 0;
}

static bool in_group_folder(const char *path)
{
	char dir[PATH_MAX];
	struct stat st;
	char *slash;

	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return false;
	slash = strrchr(dir, '/');
	if (!slash)
		strcpy(dir, ".");
	else
		slash[slash == dir] = '\0';
	return stat(dir, &st) == 0 && st.st_mode & S_ISGID;
}

mode_t vckpt_guard_file_mode(const char *path)
{
	return in_group_folder(path) ? 0660 : 0600;
}

mode_t vckpt_guard_folder_mode(const char *path)
{
	return in_group_folder(path) ? 02770 : 0700;
}

int vckpt_guard_create(const char *path, int flags)
{
	mode_t mode = vckpt_guard_file_mode(path);
	vckpt_autofd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, mode);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	/* Of a file that is there already only the owner may change the mode, and need not. */
	if ((st.st_mode & 0777) != mode && fchmod(fd, mode) < 0 && flags & O_EXCL) {
		unlink(path);
		return -1;
	}
	return vckpt_steal_fd(&fd);
}

int vckpt_guard_mkdir(const char *path)
{
	mode_t mode = vckpt_guard_folder_mode(path);
	struct stat st;

	if (mkdir(path, mode & 0777) < 0)
		return -1;
	if (stat(path, &st) == 0 && (st.st_mode & 07777) != mode && chmod(path, mode) < 0) {
		rmdir(path);
		return -1;
	}
	return 0;
}
