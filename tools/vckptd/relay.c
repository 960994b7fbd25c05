/* --stdio: bytes between our standard descriptors and the socket of this machine's vckptd.  So
 * there is one daemon per host whoever comes from where, and it outlives a launcher that is killed.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vckptd.h"

struct way {
	int from, to;
	bool over;
	size_t used, done;
	uint8_t room[65536];
};

/* One step in one direction; false when that direction is at its end. */
static bool step(struct way *w, bool readable, bool writable)
{
	ssize_t n;

	if (readable && !w->used) {
		n = read(w->from, w->room, sizeof(w->room));
		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		w->used = (size_t)n;
		writable = true; /* most likely; if not it waits below */
	}
	if (writable && w->used) {
		n = write(w->to, w->room + w->done, w->used - w->done);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		w->done += (size_t)n;
		if (w->done == w->used)
			w->used = w->done = 0;
	}
	return true;
}

int relay(int in, int out, int sock, struct vckpt_error *err)
{
	struct way there = {.from = in, .to = sock}, back = {.from = sock, .to = out};

	/* It is over when vckptd hangs up: it does so as soon as it has seen our end. */
	while (!back.over) {
		struct pollfd p[4] = {
			{.fd = !there.over && !there.used ? in : -1, .events = POLLIN},
			{.fd = there.used ? sock : -1, .events = POLLOUT},
			{.fd = !back.used ? sock : -1, .events = POLLIN},
			{.fd = back.used ? out : -1, .events = POLLOUT},
		};

		if (poll(p, 4, -1) < 0) {
			if (errno == EINTR)
				continue;
			return vckpt_fail_errno(err, "cannot wait for the streams");
		}
		if (!there.over && (p[0].revents || p[1].revents) &&
		    !step(&there, p[0].revents, p[1].revents)) {
			there.over = true;
			there.used = 0;
			shutdown(sock, SHUT_WR);
		}
		if ((p[2].revents || p[3].revents) && !step(&back, p[2].revents, p[3].revents))
			back.over = true;
	}
	return 0;
}
