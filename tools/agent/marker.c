#include "marker.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "wire/buf.h"

#define MAGIC "VCKM"

void vckpt_marker_encode(const struct vckpt_marker *m, uint8_t out[VCKPT_MARKER_LEN])
{
	memset(out, 0, VCKPT_MARKER_LEN);
	memcpy(out, m->to, 6);
	memcpy(out + 6, m->from, 6);
	vckpt_store_be(out + 12, VCKPT_MARKER_TYPE, 2);
	memcpy(out + 14, MAGIC, 4);
	out[18] = 1;
	out[19] = m->flags;
	vckpt_store_be(out + 20, m->token, 4);
}

bool vckpt_marker_decode(const void *frame, size_t len, struct vckpt_marker *m)
{
	const uint8_t *p = frame;

	if (len < 24 || vckpt_load_be(p + 12, 2) != VCKPT_MARKER_TYPE ||
	    memcmp(p + 14, MAGIC, 4) != 0 || p[18] != 1)
		return false;
	memcpy(m->to, p, 6);
	memcpy(m->from, p + 6, 6);
	m->flags = p[19];
	m->token = (uint32_t)vckpt_load_be(p + 20, 4);
	return true;
}

int vckpt_packet_open(int index, uint16_t ethertype, struct vckpt_error *err)
{
	struct sockaddr_ll a = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ethertype), .sll_ifindex = index};
	/* Protocol 0 until bound: else frames of all NICs would queue up meanwhile. */
	vckpt_autofd int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	if (fd < 0)
		return vckpt_fail_errno(err, "cannot open a packet socket (module af_packet)");
	if (!ethertype && setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0)
		return vckpt_fail_errno(err, "cannot send around the plug");
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return vckpt_fail_errno(err, "cannot bind a packet socket to NIC %d", index);
	return vckpt_steal_fd(&fd);
}
