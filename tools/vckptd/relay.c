/* --stdio: our standard descriptors and the socket of this machine's vckptd.  So there is one
 * daemon per host whoever comes from where, and it outlives a launcher that is killed.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/tree/relay.h"
#include "vckptd.h"

/*
 * What a coordinator has launched runs with his own rights, so he gains nothing by it.  Where this
 * program is all that he was let in for, or runs with more rights than his, that is not so.
 */
static const char *refusal(const struct options *o)
{
	if (o->no_relay)
		return "vckptd there was told not to launch for others (--no-relay)";
	if (getenv("SSH_ORIGINAL_COMMAND"))
		return "vckptd there is a forced command of sshd, so it does not launch others";
	if (getenv("SUDO_UID") || getenv("DOAS_USER"))
		return "vckptd there was started by sudo, so it does not launch others";
	return NULL;
}

int relay(const struct options *o, int in, int out, int sock, struct vckpt_error *err)
{
	struct vckpt_relay_config config = {
		.in = in, .out = out, .own = sock, .refusal = refusal(o)};
	struct vckpt_relay *r = vckpt_relay_new(&config, err);
	int rc = r ? 0 : -1;

	while (rc == 0) {
		struct pollfd p = {.fd = vckpt_relay_fd(r), .events = POLLIN};

		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			rc = vckpt_fail_errno(err, "cannot wait for the streams");
		else
			rc = vckpt_relay_dispatch(r, err);
	}
	vckpt_relay_free(r);
	return rc < 0 ? -1 : 0;
}
