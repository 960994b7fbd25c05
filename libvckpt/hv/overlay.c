/* Files of disks, made by qemu-img: the one who knows its own format. */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "hv/disks.h"

static pid_t start(char *const argv[], int said, struct vckpt_error *err)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, dflt;
	pid_t pid = -1;
	int rc;

	/* Threads of a host have all signals blocked, and vckptd ignores SIGPIPE. */
	sigemptyset(&none);
	sigemptyset(&dflt);
	sigaddset(&dflt, SIGPIPE);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &dflt);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&files, said, 2);
	rc = posix_spawnp(&pid, argv[0], &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	if (rc) {
		errno = rc;
		vckpt_fail_errno(err, "cannot start qemu-img (is qemu-utils installed?)");
		return -1;
	}
	return pid;
}

static int run(char *const argv[], const char *what, struct vckpt_error *err)
{
	vckpt_autofd int from = -1, to = -1;
	char said[300] = "";
	int ends[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return vckpt_fail_errno(err, "cannot make a pipe");
	from = ends[0];
	to = ends[1];
	pid = start(argv, to, err);
	if (pid < 0)
		return -1;
	vckpt_close_fd(&to);
	n = vckpt_read_full(from, said, sizeof(said) - 1, "qemu-img", NULL);
	said[n > 0 ? n : 0] = '\0';
	/* Else it would wait for a reader of the rest. */
	vckpt_close_fd(&from);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return vckpt_fail_errno(err, "cannot wait for the end of qemu-img");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	said[strcspn(said, "\n")] = '\0';
	return vckpt_fail(err, strstr(said, "lock") ? VCKPT_EBUSY : VCKPT_EFAIL,
			  "cannot make %s: %s", what, said);
}

/* libvirt gives the running guest's files to QEMU's user; the new one is to be as they are. */
static int dress(const char *path, const char *like, struct vckpt_error *err)
{
	struct stat st;

	if (stat(like, &st) < 0)
		return vckpt_fail_errno(err, "cannot look at %s", like);
	if (chmod(path, st.st_mode & 07777) < 0 || chown(path, st.st_uid, st.st_gid) < 0)
		return vckpt_fail_errno(err, "cannot give %s the owner of %s", path, like);
	return 0;
}

/* qemu-img would empty a file that is there. */
static int refuse_there(const char *path, struct vckpt_error *err)
{
	if (access(path, F_OK) < 0)
		return 0;
	return vckpt_fail(err, VCKPT_EFAIL, "the file %s is there already", path);
}

int vckpt_overlay_make(const char *path, const char *backing, const char *format, uint64_t bytes,
		       struct vckpt_error *err)
{
	char size[24];
	/* With -u the backing file, which QEMU is writing to, is not opened. */
	char *const given[] = {
		"qemu-img",      "create", "-q",           "-f",         "qcow2", "-u", "-b",
		(char *)backing, "-F",     (char *)format, (char *)path, size,    NULL};
	char *const same[] = {"qemu-img", "create",        "-q", "-f",           "qcow2",
			      "-b",       (char *)backing, "-F", (char *)format, (char *)path,
			      NULL};

	snprintf(size, sizeof(size), "%" PRIu64, bytes);
	if (refuse_there(path, err) < 0)
		return -1;
	if (run(bytes ? given : same, path, err) == 0 && dress(path, backing, err) == 0)
		return 0;
	unlink(path);
	return -1;
}

int vckpt_disk_flatten(const char *from, const char *format, const char *to,
		       struct vckpt_error *err)
{
	char *const argv[] = {"qemu-img", "convert", "-q",         "-f",       (char *)format,
			      "-O",       "qcow2",   (char *)from, (char *)to, NULL};

	if (refuse_there(to, err) < 0)
		return -1;
	if (run(argv, to, err) == 0)
		return 0;
	unlink(to);
	return -1;
}

int vckpt_overlay_beside(const char *path, const char *base, struct vckpt_error *err)
{
	/* A name with a colon would be taken for a protocol. */
	char backing[PATH_MAX];
	char *const argv[] = {"qemu-img", "create", "-q",    "-f",         "qcow2", "-b",
			      backing,    "-F",     "qcow2", (char *)path, NULL};

	if (snprintf(backing, sizeof(backing), "./%s", base) >= (int)sizeof(backing))
		return vckpt_fail(err, VCKPT_EUSAGE, "the name %s is too long", base);
	if (refuse_there(path, err) < 0)
		return -1;
	if (run(argv, path, err) == 0)
		return 0;
	unlink(path);
	return -1;
}
