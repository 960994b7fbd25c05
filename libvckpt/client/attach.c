#include "client/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "client/page.h"
#include "wire/client_msg.h"
#include "wire/frame.h"

/* The page of a process that has no agent: open for ever. */
static const struct vckpt_page open_page = {
	.magic = VCKPT_PAGE_MAGIC,
	.version = VCKPT_PAGE_VERSION,
};

void vckpt_attachment_init(struct vckpt_attachment *a)
{
	memset(a, 0, sizeof(*a));
	a->page = &open_page;
	a->slot = &a->own;
	a->slot_fd = -1;
}

/* The agent may be between two lives: its socket is there but nobody listens.  Its successor comes
 * within moments, and a process that is not attached is not held, so that is worth waiting for. */
int vckpt_agent_dial(uint64_t deadline, struct vckpt_error *err)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_usec = 500 * 1000};

	if (vckpt_run_path(sun.sun_path, sizeof(sun.sun_path), VCKPT_AGENT_SOCKET, err) < 0)
		return -1;
	for (;;) {
		vckpt_autofd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

		if (fd < 0)
			return vckpt_fail_errno(err, "cannot make a socket for the vckpt agent");
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
			return vckpt_steal_fd(&fd);
		if (errno != ECONNREFUSED && errno != ENOENT && errno != EAGAIN && errno != EINTR)
			return vckpt_fail_errno(err, "cannot reach the vckpt agent at %s",
						sun.sun_path);
		if (vckpt_now() >= deadline)
			return vckpt_fail(
				err, VCKPT_ETIME,
				"the vckpt agent does not listen at %s: start vckpt-agent",
				sun.sun_path);
		nanosleep(&pause, NULL);
	}
}

static void copy_text(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

static int encode_attach(struct vckpt_buf *out, const struct vckpt_identity *id,
			 struct vckpt_error *err)
{
	struct vckpt_client_attach msg = {
		.lowest = VCKPT_CLIENT_LOWEST,
		.highest = VCKPT_CLIENT_HIGHEST,
		.rank_plus1 = id->rank + 1,
		.size = id->size,
	};
	int done;

	copy_text(msg.job, sizeof(msg.job), id->job);
	copy_text(msg.program, sizeof(msg.program), id->program);
	copy_text(msg.launcher, sizeof(msg.launcher), id->launcher);
	if (id->nnodes) {
		struct vckpt_client_node *n = calloc(VCKPT_IDENTITY_NODES, sizeof(*n));

		if (!n)
			return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for the list of nodes");
		msg.nodes.v = n;
		while (msg.nodes.n < id->nnodes && msg.nodes.n < VCKPT_IDENTITY_NODES) {
			copy_text(n[msg.nodes.n].name, sizeof(n->name), id->nodes[msg.nodes.n]);
			msg.nodes.n++;
		}
	}
	done = vckpt_frame_put(out, VCKPT_CLIENT_ATTACH, VCKPT_CLIENT_LOWEST, 0,
			       &vckpt_client_attach_type, &msg, err);
	vckpt_message_free(&vckpt_client_attach_type, &msg);
	if (done == 0 && out->failed)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory for a message to the agent");
	return done;
}

/* One datagram into `data`, with the descriptor that came along in *fd, or -1 there. */
static ssize_t receive(int sock, void *data, size_t size, uint64_t deadline, int *fd,
		       struct vckpt_error *err)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = data, .iov_len = size};
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	struct cmsghdr *c;
	ssize_t n;

	do {
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN) && vckpt_now() < deadline);
	if (n < 0 && errno == EAGAIN)
		return vckpt_fail(err, VCKPT_ETIME, "the vckpt agent does not answer");
	if (n < 0)
		return vckpt_fail_errno(err, "cannot hear the vckpt agent");
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return vckpt_fail(err, VCKPT_EPEER, "the vckpt agent's answer is too long");
	return n;
}

static int read_answer(const uint8_t *data, size_t len, struct vckpt_error *err)
{
	struct vckpt_frame_reader r;
	struct vckpt_client_attached msg;
	struct vckpt_frame f;
	int done = -1;

	vckpt_frame_reader_init(&r, VCKPT_CLIENT_FRAME_MAX, true);
	if (vckpt_frame_feed(&r, data, len, err) < 0)
		goto out;
	done = vckpt_frame_next(&r, &f, err);
	if (done < 0)
		goto out;
	if (done == 0 || f.type != VCKPT_CLIENT_ATTACHED || f.nonce != 0) {
		done = vckpt_fail(err, VCKPT_EPEER, "the vckpt agent's answer makes no sense");
		goto out;
	}
	done = vckpt_decode(&vckpt_client_attached_type, &msg, f.version, f.payload, f.len, err);
	if (done == 0 && (msg.version < VCKPT_CLIENT_LOWEST || msg.version > VCKPT_CLIENT_HIGHEST))
		done = vckpt_fail(err, VCKPT_EREFUSED, "the vckpt agent refused this process: %s",
				  msg.text);
out:
	vckpt_frame_reader_free(&r);
	return done;
}

static int ask_for_slot(const struct vckpt_identity *id, struct vckpt_error *err)
{
	uint64_t deadline = vckpt_now() + VCKPT_ATTACH_MS * VCKPT_MS;
	vckpt_autofd int sock = vckpt_agent_dial(deadline, err), slot = -1;
	uint8_t answer[VCKPT_FRAME_HEADER + 1024];
	struct vckpt_buf out = VCKPT_BUF_EMPTY;
	ssize_t n;
	int done;

	if (sock < 0)
		return -1;
	done = encode_attach(&out, id, err);
	if (done == 0 && send(sock, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len)
		done = vckpt_fail_errno(err, "cannot speak to the vckpt agent");
	vckpt_buf_free(&out);
	if (done < 0)
		return -1;
	n = receive(sock, answer, sizeof(answer), deadline, &slot, err);
	if (n < 0)
		return -1;
	if (n == 0)
		return vckpt_fail(err, VCKPT_EPEER, "the vckpt agent hung up");
	if (read_answer(answer, (size_t)n, err) < 0)
		return -1;
	if (slot < 0)
		return vckpt_fail(err, VCKPT_EPEER, "the vckpt agent sent no slot");
	return vckpt_steal_fd(&slot);
}

static struct vckpt_slot *map_slot(int fd, struct vckpt_error *err)
{
	struct vckpt_slot *slot;
	struct stat st;

	/* A slot that could shrink could kill us with SIGBUS in the middle of a send. */
	if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(*slot) ||
	    !(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK)) {
		vckpt_fail(err, VCKPT_EPEER, "the slot the vckpt agent sent is not sealed");
		return NULL;
	}
	slot = mmap(NULL, sizeof(*slot), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (slot == MAP_FAILED) {
		vckpt_fail_errno(err, "cannot map the slot the vckpt agent sent");
		return NULL;
	}
	if (slot->magic != VCKPT_SLOT_MAGIC || slot->version != VCKPT_PAGE_VERSION) {
		munmap(slot, sizeof(*slot));
		vckpt_fail(err, VCKPT_EPEER, "the slot the vckpt agent sent has another layout");
		return NULL;
	}
	return slot;
}

int vckpt_attach(struct vckpt_attachment *a, const struct vckpt_identity *id,
		 struct vckpt_error *err)
{
	vckpt_autofd int page_fd = vckpt_page_open(err), slot_fd = -1;
	struct vckpt_slot *slot;
	void *page;

	if (page_fd < 0)
		return -1;
	slot_fd = ask_for_slot(id, err);
	if (slot_fd < 0)
		return -1;
	slot = map_slot(slot_fd, err);
	if (!slot)
		return -1;
	page = mmap(NULL, VCKPT_PAGE_SIZE, PROT_READ, MAP_SHARED, page_fd, 0);
	if (page == MAP_FAILED) {
		vckpt_fail_errno(err, "cannot map the agent's control page");
		munmap(slot, sizeof(*slot));
		return -1;
	}
	a->fences = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) != 0;
	/* A process that attaches again may be given its slot of before. */
	atomic_fetch_and(&slot->flags, ~(uint32_t)VCKPT_SLOT_LEAVING);
	a->page = page;
	a->slot = slot;
	a->slot_fd = vckpt_steal_fd(&slot_fd);
	return 0;
}

void vckpt_attachment_leave(struct vckpt_attachment *a)
{
	atomic_fetch_or(&a->slot->flags, VCKPT_SLOT_LEAVING);
	vckpt_close_fd(&a->slot_fd);
}

void vckpt_attachment_drop(struct vckpt_attachment *a)
{
	if (a->page != &open_page)
		munmap((void *)(uintptr_t)a->page, VCKPT_PAGE_SIZE);
	if (a->slot != &a->own)
		munmap(a->slot, sizeof(*a->slot));
	vckpt_close_fd(&a->slot_fd);
	vckpt_attachment_init(a);
}
