#include "nic.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANDLE (0x7cu << 16)

struct finding {
	const char *only;
	struct vckpt_nics *nics;
};

bool vckpt_list_has(const char *list, const char *name)
{
	size_t n = strlen(name);

	if (!list || !*list)
		return true;
	for (const char *p = list; *p;) {
		size_t len = strcspn(p, ", ");

		if (len == n && memcmp(p, name, n) == 0)
			return true;
		p += len + (p[len] != '\0');
	}
	return false;
}

static bool has_device(const char *name)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/class/net/%s/device", name);
	return access(path, F_OK) == 0;
}

static void take_link(const struct nlmsghdr *h, void *arg)
{
	struct finding *f = arg;
	struct vckpt_nics *nics = f->nics;
	const struct ifinfomsg *m = NLMSG_DATA(h);
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)));
	struct vckpt_nic nic = {.index = m->ifi_index, .queues = 1};

	if (h->nlmsg_type != RTM_NEWLINK || m->ifi_type != ARPHRD_ETHER ||
	    nics->n == VCKPT_NICS_MAX)
		return;
	for (const struct rtattr *a = IFLA_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == IFLA_IFNAME)
			snprintf(nic.name, sizeof(nic.name), "%s", (char *)RTA_DATA(a));
		else if (a->rta_type == IFLA_ADDRESS && RTA_PAYLOAD(a) == 6)
			memcpy(nic.mac, RTA_DATA(a), 6);
		else if (a->rta_type == IFLA_NUM_TX_QUEUES)
			memcpy(&nic.queues, RTA_DATA(a), 4);
	}
	if (f->only ? *f->only && vckpt_list_has(f->only, nic.name) : has_device(nic.name))
		nics->v[nics->n++] = nic;
}

int vckpt_nics_find(struct vckpt_nl *nl, const char *only, struct vckpt_nics *nics,
		    struct vckpt_error *err)
{
	struct finding f = {only, nics};
	struct ifinfomsg m = {.ifi_family = AF_UNSPEC};
	struct vckpt_nl_req r;

	nics->n = 0;
	vckpt_nl_start(&r, RTM_GETLINK, NLM_F_DUMP, &m, sizeof(m));
	if (vckpt_nl_talk(nl, &r, take_link, &f, err) < 0)
		return vckpt_error_prefix(err, "listing the network cards");
	return 0;
}

void vckpt_addr_map(uint8_t out[16], const void *ip, size_t len)
{
	memset(out, 0, 16);
	if (len == 16) {
		memcpy(out, ip, 16);
		return;
	}
	out[10] = out[11] = 0xff;
	memcpy(out + 12, ip, 4);
}

bool vckpt_addr_is_v4(const uint8_t ip[16])
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(ip, prefix, sizeof(prefix)) == 0;
}

bool vckpt_addr_is_loopback(const uint8_t ip[16])
{
	static const uint8_t one[16] = {[15] = 1};

	return vckpt_addr_is_v4(ip) ? ip[12] == 127 : memcmp(ip, one, 16) == 0;
}

void vckpt_addr_text(const uint8_t ip[16], char *out, size_t len)
{
	bool v4 = vckpt_addr_is_v4(ip);

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? ip + 12 : ip, out, (socklen_t)len))
		snprintf(out, len, "?");
}

static void take_addr(const struct nlmsghdr *h, void *arg)
{
	struct vckpt_addrs *addrs = arg;
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)));
	const struct rtattr *local = NULL, *cache = NULL;
	struct vckpt_addr *to = &addrs->v[addrs->n];

	if (h->nlmsg_type != RTM_NEWADDR || addrs->n == VCKPT_ADDRS_MAX)
		return;
	/* On point-to-point links IFA_ADDRESS is the other end; IFA_LOCAL, when there, is ours. */
	for (const struct rtattr *a = IFA_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == IFA_LOCAL || (a->rta_type == IFA_ADDRESS && !local))
			local = a;
		else if (a->rta_type == IFA_CACHEINFO)
			cache = a;
	if (!local || (RTA_PAYLOAD(local) != 4 && RTA_PAYLOAD(local) != 16))
		return;
	vckpt_addr_map(to->ip, RTA_DATA(local), RTA_PAYLOAD(local));
	to->index = (int)m->ifa_index;
	to->valid = UINT32_MAX;
	to->updated = 0;
	if (cache && RTA_PAYLOAD(cache) >= sizeof(struct ifa_cacheinfo)) {
		struct ifa_cacheinfo info;

		memcpy(&info, RTA_DATA(cache), sizeof(info));
		to->valid = info.ifa_valid;
		to->updated = info.tstamp / 100;
	}
	addrs->n++;
}

int vckpt_addrs_find(struct vckpt_nl *nl, struct vckpt_addrs *addrs, struct vckpt_error *err)
{
	struct ifaddrmsg m = {.ifa_family = AF_UNSPEC};
	struct vckpt_nl_req r;

	addrs->n = 0;
	vckpt_nl_start(&r, RTM_GETADDR, NLM_F_DUMP, &m, sizeof(m));
	if (vckpt_nl_talk(nl, &r, take_addr, addrs, err) < 0)
		return vckpt_error_prefix(err, "listing the guest's addresses");
	return 0;
}

bool vckpt_addrs_has(const struct vckpt_addrs *addrs, const uint8_t ip[16])
{
	for (unsigned i = 0; i < addrs->n; i++)
		if (memcmp(addrs->v[i].ip, ip, 16) == 0)
			return true;
	return false;
}

/* One line of the table, as far as it is filled in. */
struct line {
	int index, family;
	uint16_t state;
	const struct rtattr *ip, *mac; /* NULL: it has none; into the message */
};

static bool read_line(const struct nlmsghdr *h, struct line *l)
{
	const struct ndmsg *m = NLMSG_DATA(h);
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)));
	const struct rtattr *a = (const struct rtattr *)((const char *)m + NLMSG_ALIGN(sizeof(*m)));

	*l = (struct line){m->ndm_ifindex, m->ndm_family, m->ndm_state, NULL, NULL};
	if (h->nlmsg_type != RTM_NEWNEIGH)
		return false;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == NDA_LLADDR && RTA_PAYLOAD(a) == 6)
			l->mac = a;
		else if (a->rta_type == NDA_DST && (RTA_PAYLOAD(a) == 4 || RTA_PAYLOAD(a) == 16))
			l->ip = a;
	return l->ip && l->mac && !(l->state & (NUD_FAILED | NUD_INCOMPLETE));
}

struct neighbour {
	const uint8_t *ip;
	uint8_t *mac;
	int found;
};

static void take_neighbour(const struct nlmsghdr *h, void *arg)
{
	struct neighbour *want = arg;
	struct line l;
	uint8_t ip[16];

	if (!read_line(h, &l))
		return;
	vckpt_addr_map(ip, RTA_DATA(l.ip), RTA_PAYLOAD(l.ip));
	if (memcmp(ip, want->ip, 16) == 0) {
		memcpy(want->mac, RTA_DATA(l.mac), 6);
		want->found = 1;
	}
}

int vckpt_neighbour(struct vckpt_nl *nl, const uint8_t ip[16], uint8_t mac[6],
		    struct vckpt_error *err)
{
	struct neighbour want = {ip, mac, 0};
	struct ndmsg m = {.ndm_family = vckpt_addr_is_v4(ip) ? AF_INET : AF_INET6};
	struct vckpt_nl_req r;

	vckpt_nl_start(&r, RTM_GETNEIGH, NLM_F_DUMP, &m, sizeof(m));
	if (vckpt_nl_talk(nl, &r, take_neighbour, &want, err) < 0)
		return vckpt_error_prefix(err, "reading the neighbour table");
	return want.found;
}

struct stranger {
	struct ndmsg m;
	uint8_t ip[16];
	size_t len;
};

struct strangers {
	const struct vckpt_nics *nics;
	bool (*keep)(const uint8_t mac[6], const void *arg);
	const void *arg;
	unsigned n;
	struct stranger v[64];
};

static void take_stranger(const struct nlmsghdr *h, void *arg)
{
	struct strangers *s = arg;
	struct stranger *to = &s->v[s->n];
	struct line l;

	if (s->n == sizeof(s->v) / sizeof(s->v[0]) || !read_line(h, &l) ||
	    (l.state & (NUD_PERMANENT | NUD_NOARP)) || s->keep(RTA_DATA(l.mac), s->arg))
		return;
	for (unsigned i = 0; i < s->nics->n; i++)
		if (s->nics->v[i].index == l.index) {
			to->m = (struct ndmsg){.ndm_family = (uint8_t)l.family,
					       .ndm_ifindex = l.index};
			to->len = RTA_PAYLOAD(l.ip);
			memcpy(to->ip, RTA_DATA(l.ip), to->len);
			s->n++;
			return;
		}
}

int vckpt_neighbours_forget(struct vckpt_nl *nl, const struct vckpt_nics *nics,
			    bool (*keep)(const uint8_t mac[6], const void *arg), const void *arg,
			    struct vckpt_error *err)
{
	struct strangers s = {.nics = nics, .keep = keep, .arg = arg};
	struct ndmsg m = {.ndm_family = AF_UNSPEC};
	struct vckpt_nl_req r;

	/* The kernel's own limit is 1,024 lines a family: so many rounds are more than enough. */
	for (unsigned round = 0; round < 64; round++) {
		s.n = 0;
		vckpt_nl_start(&r, RTM_GETNEIGH, NLM_F_DUMP, &m, sizeof(m));
		if (vckpt_nl_talk(nl, &r, take_stranger, &s, err) < 0)
			return vckpt_error_prefix(err, "reading the neighbour table");
		if (s.n == 0)
			return 0;
		for (unsigned i = 0; i < s.n; i++) {
			vckpt_nl_start(&r, RTM_DELNEIGH, 0, &s.v[i].m, sizeof(s.v[i].m));
			vckpt_nl_attr(&r, NDA_DST, s.v[i].ip, s.v[i].len);
			/* One that went by itself meanwhile is no fault. */
			if (vckpt_nl_talk(nl, &r, NULL, NULL, err) < 0 && err->sys != ENOENT)
				return vckpt_error_prefix(err, "forgetting a neighbour");
		}
	}
	return 0;
}

static void take_qdisc(const struct nlmsghdr *h, void *arg)
{
	struct vckpt_qdisc *q = arg;
	const struct tcmsg *m = NLMSG_DATA(h);
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)));

	if (h->nlmsg_type != RTM_NEWQDISC)
		return;
	for (const struct rtattr *a = TCA_RTA(m); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == TCA_KIND) {
			snprintf(q->kind, sizeof(q->kind), "%s", (char *)RTA_DATA(a));
		} else if (a->rta_type == TCA_STATS && RTA_PAYLOAD(a) >= sizeof(struct tc_stats)) {
			struct tc_stats s;

			memcpy(&s, RTA_DATA(a), sizeof(s));
			q->backlog = s.backlog;
			q->drops = s.drops;
		}
	}
}

int vckpt_qdisc_read(struct vckpt_nl *nl, int index, struct vckpt_qdisc *q, struct vckpt_error *err)
{
	struct tcmsg m = {.tcm_ifindex = index, .tcm_parent = TC_H_ROOT};
	struct vckpt_nl_req r;

	memset(q, 0, sizeof(*q));
	/* Without NLM_F_ECHO the kernel tells only those who listen to its notifications. */
	vckpt_nl_start(&r, RTM_GETQDISC, NLM_F_ECHO, &m, sizeof(m));
	return vckpt_nl_talk(nl, &r, take_qdisc, q, err);
}

static int plug_set(struct vckpt_nl *nl, int index, uint16_t flags, int action,
		    struct vckpt_error *err)
{
	struct tcmsg m = {
		.tcm_ifindex = index, .tcm_parent = TC_H_ROOT, .tcm_handle = flags ? HANDLE : 0};
	/* The limit counts bytes, also while passing: the largest there is. */
	struct tc_plug_qopt q = {.action = action, .limit = UINT32_MAX};
	struct vckpt_nl_req r;

	vckpt_nl_start(&r, RTM_NEWQDISC, flags, &m, sizeof(m));
	vckpt_nl_attr(&r, TCA_KIND, "plug", 5);
	vckpt_nl_attr(&r, TCA_OPTIONS, &q, sizeof(q));
	return vckpt_nl_talk(nl, &r, NULL, NULL, err);
}

int vckpt_plug_install(struct vckpt_nl *nl, int index, struct vckpt_error *err)
{
	struct vckpt_qdisc q;

	/* Replacing a root qdisc throws away what it has queued: never when ours is there. */
	if (vckpt_qdisc_read(nl, index, &q, NULL) == 0 && strcmp(q.kind, "plug") == 0)
		return 0;
	if (plug_set(nl, index, NLM_F_CREATE | NLM_F_REPLACE, TCQ_PLUG_BUFFER, err) < 0)
		return -1;
	/* A new plug is born throttled. */
	return vckpt_plug_pass(nl, index, err);
}

int vckpt_plug_hold(struct vckpt_nl *nl, int index, struct vckpt_error *err)
{
	return plug_set(nl, index, 0, TCQ_PLUG_BUFFER, err);
}

int vckpt_plug_pass(struct vckpt_nl *nl, int index, struct vckpt_error *err)
{
	return plug_set(nl, index, 0, TCQ_PLUG_RELEASE_INDEFINITE, err);
}
