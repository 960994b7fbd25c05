/* Who may use vckptd: processes of real users, as the kernel tells of them.  Needs root. */
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#include "host/remote/private.h"
#include "vckptd.h"

#define GROUP    "users" /* one that all systems have */
#define STRANGER 54321

static char dir[256], path[300];

/* A process of this user and groups connects; what it exits with is the code of its failure. */
static pid_t visitor(uid_t uid, gid_t gid, gid_t more)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	pid_t pid = fork();
	int fd;

	if (pid)
		return pid;
	if (setgroups(more ? 1 : 0, &more) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
		_exit(100);
	if (vckpt_unix_connect(path, &fd, &err) < 0) {
		if (!strstr(err.text, "members of the group"))
			_exit(101);
		_exit(err.code);
	}
	_exit(0);
}

/* What is said to such a process; *code: how far it came. */
static void visit(int listening, uid_t uid, gid_t gid, gid_t more, const char *group, int *code,
		  char refusal[256])
{
	pid_t pid = visitor(uid, gid, more);
	char peer[96], expected[32];
	int status, fd;

	CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
	*code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	strcpy(refusal, "not heard of");
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	judge_peer(fd, group, peer, sizeof(peer), refusal, 256);
	snprintf(expected, sizeof(expected), "uid %u, pid %d", uid, (int)pid);
	CU_ASSERT_STRING_EQUAL(peer, expected);
	close(fd);
}

static void test_peers(void)
{
	struct group *gr = getgrnam(GROUP);
	struct vckpt_error err = VCKPT_ERROR_NONE;
	char refusal[256];
	struct stat st;
	int fd, code;

	CU_ASSERT_EQUAL_FATAL(geteuid(), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(gr);
	snprintf(dir, sizeof(dir), "%s/vckpt-test-peers-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : P_tmpdir);
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	chmod(dir, 0755);
	snprintf(path, sizeof(path), "%s/s", dir);
	umask(0);
	CU_ASSERT_EQUAL_FATAL(listen_at(path, GROUP, &fd, &err), 0);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0660);
	CU_ASSERT_EQUAL(st.st_gid, gr->gr_gid);
	visit(fd, 0, 0, 0, GROUP, &code, refusal);
	CU_ASSERT(code == 0 && !refusal[0]);
	visit(fd, STRANGER, STRANGER, gr->gr_gid, GROUP, &code, refusal);
	CU_ASSERT(code == 0 && !refusal[0]);
	visit(fd, STRANGER, gr->gr_gid, 0, GROUP, &code, refusal);
	CU_ASSERT(code == 0 && !refusal[0]);
	visit(fd, STRANGER, STRANGER, 0, GROUP, &code, refusal);
	CU_ASSERT_EQUAL(code, VCKPT_EREFUSED); /* by the socket's mode already */
	/* A socket whose mode somebody has changed protects nothing, but does not have to. */
	chmod(path, 0666);
	visit(fd, STRANGER, STRANGER, 0, GROUP, &code, refusal);
	CU_ASSERT_EQUAL(code, 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(refusal, "user 54321 may not"));
	CU_ASSERT_PTR_NOT_NULL(strstr(refusal, "members of group " GROUP));
	visit(fd, STRANGER, STRANGER, gr->gr_gid, NULL, &code, refusal);
	CU_ASSERT_PTR_NOT_NULL(strstr(refusal, "user 54321 may not"));
	visit(fd, STRANGER, STRANGER, gr->gr_gid + 1, GROUP, &code, refusal);
	CU_ASSERT_PTR_NOT_NULL(strstr(refusal, "user 54321 may not"));
	close(fd);
	CU_ASSERT_EQUAL(listen_at(path, "no-such-group", &fd, &err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "no-such-group"));
	unlink(path);
	rmdir(dir);
}

static const struct unit_test tests[] = {{"users and groups", test_peers}};

UNIT_MAIN("peers", tests)
