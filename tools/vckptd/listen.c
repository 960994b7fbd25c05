#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "vckptd.h"

int lock_run_dir(const char *run_dir, int *fd, struct vckpt_error *err)
{
	char path[4096], text[32] = "";
	vckpt_autofd int f = -1;

	snprintf(path, sizeof(path), "%s/lock", run_dir);
	f = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (f < 0)
		return vckpt_fail_errno(err, "cannot open %s", path);
	if (flock(f, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return vckpt_fail_errno(err, "cannot lock %s", path);
		if (read(f, text, sizeof(text) - 1) < 0)
			text[0] = '\0';
		text[strcspn(text, "\n")] = '\0';
		return vckpt_fail(err, VCKPT_EBUSY,
				  "another vckptd (pid %s) works in %s; stop it, or give this one "
				  "another --run-dir",
				  text, run_dir);
	}
	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(f, 0) < 0 || pwrite(f, text, strlen(text), 0) < 0)
		return vckpt_fail_errno(err, "cannot write %s", path);
	*fd = vckpt_steal_fd(&f);
	return 0;
}

static int find_group(const char *name, gid_t *gid, struct vckpt_error *err)
{
	struct group *gr = getgrnam(name);

	if (!gr)
		return vckpt_fail(err, VCKPT_ENOTFOUND, "there is no group %s", name);
	*gid = gr->gr_gid;
	return 0;
}

int listen_at(const char *path, const char *group, int *fd, struct vckpt_error *err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	vckpt_autofd int s = -1;
	gid_t gid = (gid_t)-1;
	mode_t old;
	int rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "the path of socket %s is too long, %zu bytes are allowed", path,
				  sizeof(a.sun_path) - 1);
	strcpy(a.sun_path, path);
	if (group && find_group(group, &gid, err) < 0)
		return -1;
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return vckpt_fail_errno(err, "cannot make a socket");
	/* We have the lock, so whoever made this one is dead. */
	if (unlink(path) < 0 && errno != ENOENT)
		return vckpt_fail_errno(err, "cannot remove the old socket %s", path);
	old = umask(0177);
	rc = bind(s, (struct sockaddr *)&a, sizeof(a));
	umask(old);
	if (rc < 0)
		return vckpt_fail_errno(err, "cannot bind %s", path);
	if (group && (chown(path, (uid_t)-1, gid) < 0 || chmod(path, 0660) < 0))
		return vckpt_fail_errno(err, "cannot give %s to group %s", path, group);
	if (listen(s, 64) < 0)
		return vckpt_fail_errno(err, "cannot listen on %s", path);
	*fd = vckpt_steal_fd(&s);
	return 0;
}

/* By what the kernel says of the process, not by what a file says of the user. */
static bool in_group(int fd, const struct ucred *c, const char *name)
{
	gid_t gid = (gid_t)-1, list[1024];
	socklen_t len = sizeof(list);

	if (find_group(name, &gid, NULL) < 0)
		return false;
	if (c->gid == gid)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, list, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(*list); i++)
		if (list[i] == gid)
			return true;
	return false;
}

void judge_peer(int fd, const char *group, char *peer, size_t peer_size, char *refusal,
		size_t refusal_size)
{
	socklen_t len = sizeof(struct ucred);
	struct ucred c;

	refusal[0] = '\0';
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) < 0) {
		snprintf(peer, peer_size, "unknown");
		snprintf(refusal, refusal_size, "the kernel does not say who you are");
		return;
	}
	snprintf(peer, peer_size, "uid %u, pid %d", c.uid, (int)c.pid);
	if (c.uid == 0 || c.uid == geteuid() || (group && in_group(fd, &c, group)))
		return;
	snprintf(refusal, refusal_size,
		 "user %u may not checkpoint guests of this host; root may%s%.64s", c.uid,
		 group ? ", and members of group " : "", group ? group : "");
}
