#include "monitor/monitor.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "hv/incidents.h"
#include "monitor/edac.h"
#include "monitor/leave.h"
#include "monitor/logind.h"
#include "monitor/tell.h"

#define EDAC_SOURCE "edac"
/* A confidence below it is none, and a change that is smaller is not told. */
#define EDAC_LEAST 0.05
/* A word that stands is said again, so that it does not become old. */
#define EDAC_AGAIN (600 * VCKPT_S)

enum source { LIBVIRT, EDAC, SHUTDOWN, N_SOURCES };
static const char *const source_names[N_SOURCES] = {"libvirt", "edac", "shutdown"};

struct monitor {
	const struct vckpt_cluster_ctx *ctx;
	const struct vckpt_monitor_options *opt;
	struct vckpt_teller teller;
	struct {
		bool said, good;
	} listens[N_SOURCES];
	struct vckpt_incidents *incidents;
	struct vckpt_incident pending; /* could not be told yet */
	bool is_pending;
	struct vckpt_logind *logind;
	bool going; /* this host is shut down */
	struct vckpt_edac edac;
	double edac_said;
	uint64_t edac_said_at;
};

static void trouble(struct monitor *m, const struct vckpt_error *why)
{
	vckpt_tell_event(&m->teller, json_pack("{s:s,s:s}", "event", "trouble", "text", why->text));
}

/* Told when it changes. */
static void say_listens(struct monitor *m, enum source what, bool good, const char *text)
{
	if (m->listens[what].said && m->listens[what].good == good)
		return;
	m->listens[what].said = true;
	m->listens[what].good = good;
	vckpt_tell_event(&m->teller, json_pack("{s:s,s:s,s:b,s:s}", "event", "listens", "to",
					       source_names[what], "good", good, "text", text));
}

/* ---- libvirt ---- */

static void tend_libvirt(struct monitor *m)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (!m->incidents)
		return;
	if (vckpt_incidents_tend(m->incidents, &why) == 0)
		say_listens(m, LIBVIRT, true, "");
	else
		say_listens(m, LIBVIRT, false, why.text);
}

/* Without a store what happened waits. */
static void take_incidents(struct monitor *m)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (!m->incidents)
		return;
	while (m->is_pending || vckpt_incidents_next(m->incidents, &m->pending)) {
		m->is_pending = vckpt_tell_incident(&m->teller, &m->pending, &why) < 0;
		if (m->is_pending) {
			trouble(m, &why);
			return;
		}
	}
}

/* ---- memory ---- */

static int say_edac(struct monitor *m, const struct vckpt_edac_counts *c, double chance,
		    double rate, struct vckpt_error *err)
{
	struct vckpt_report r = {
		.kind = VCKPT_REPORT_WARNING, .source = EDAC_SOURCE, .chance = chance};

	if (chance < EDAC_LEAST)
		r.kind = VCKPT_REPORT_CLEAR;
	snprintf(r.text, sizeof(r.text),
		 "%.0f corrected memory errors an hour, %llu not corrected since it started%s%s",
		 rate, (unsigned long long)c->uncorrected, *c->worst ? ", most in " : "", c->worst);
	return vckpt_tell_host(&m->teller, &r, err);
}

static void look_at_memory(struct monitor *m)
{
	const char *folder = m->opt->edac ? m->opt->edac : VCKPT_EDAC_FOLDER;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_edac_counts c;
	double chance, rate, change;
	uint64_t now;

	if (!(m->opt->what & VCKPT_MONITOR_EDAC))
		return;
	if (vckpt_edac_read(folder, &c, &why) < 0) {
		say_listens(m, EDAC, false, why.text);
		return;
	}
	say_listens(m, EDAC, true, "");
	now = vckpt_now();
	vckpt_edac_add(&m->edac, now, &c);
	chance = vckpt_edac_chance(&m->edac, &rate);
	change = chance > m->edac_said ? chance - m->edac_said : m->edac_said - chance;
	if (chance < EDAC_LEAST ? m->edac_said < EDAC_LEAST
				: change < EDAC_LEAST && now - m->edac_said_at < EDAC_AGAIN)
		return;
	if (say_edac(m, &c, chance, rate, &why) < 0) {
		trouble(m, &why);
		return;
	}
	m->edac_said = chance;
	m->edac_said_at = now;
}

/* ---- the host is shut down ---- */

static void tend_logind(struct monitor *m)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char text[80];

	if (!(m->opt->what & VCKPT_MONITOR_SHUTDOWN) || m->logind)
		return;
	if (vckpt_logind_open("virtual machines of MPI jobs leave this host", &m->logind, &why) <
	    0) {
		say_listens(m, SHUTDOWN, false, why.text);
		return;
	}
	snprintf(text, sizeof(text), "a shutdown waits for %.1f s at most",
		 (double)vckpt_logind_delay(m->logind) / (double)VCKPT_S);
	say_listens(m, SHUTDOWN, true, text);
}

static void leave(struct monitor *m)
{
	uint64_t within = vckpt_logind_delay(m->logind);
	struct vckpt_error why = VCKPT_ERROR_NONE;

	vckpt_tell_event(&m->teller, json_pack("{s:s,s:b,s:f}", "event", "shutdown", "begins", 1,
					       "within_s", (double)within / (double)VCKPT_S));
	if (vckpt_leave(m->ctx, &m->teller, m->opt->policy, &m->opt->rearrange, within, &why) < 0)
		trouble(m, &why);
	m->going = true;
	vckpt_logind_let_go(m->logind);
}

/* The words of an earlier life of this host, or of ours, came true; or not. */
static void settle(struct monitor *m, bool came_true)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	m->going = false;
	if (vckpt_leave_settle(&m->teller, m->opt->policy, came_true, &why) < 0)
		trouble(m, &why);
}

static void take_shutdown(struct monitor *m)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	enum vckpt_shutdown what = VCKPT_SHUTDOWN_NONE;

	while (m->logind) {
		if (vckpt_logind_next(m->logind, &what, &why) < 0) {
			say_listens(m, SHUTDOWN, false, why.text);
			vckpt_logind_close(m->logind);
			m->logind = NULL;
			return;
		}
		if (what == VCKPT_SHUTDOWN_NONE)
			return;
		if (what == VCKPT_SHUTDOWN_COMES) {
			leave(m);
			continue;
		}
		vckpt_tell_event(&m->teller,
				 json_pack("{s:s,s:b}", "event", "shutdown", "begins", 0));
		settle(m, false);
	}
}

/* ---- the loop ---- */

static void look(struct monitor *m)
{
	tend_libvirt(m);
	tend_logind(m);
	look_at_memory(m);
}

/* 1: it is cancelled. */
static int wait_for(struct monitor *m, uint64_t until)
{
	struct pollfd p[3] = {{.fd = m->ctx->cancel_fd, .events = POLLIN},
			      {.fd = -1, .events = POLLIN},
			      {.fd = -1, .events = POLLIN}};
	uint64_t now = vckpt_now();

	/* More than poll() can count is not needed: whoever wakes early looks at the time. */
	if (until > now + 60 * VCKPT_S)
		until = now + 60 * VCKPT_S;
	if (m->incidents && !m->is_pending)
		p[1].fd = vckpt_incidents_fd(m->incidents);
	if (m->logind) {
		p[2].fd = vckpt_logind_fd(m->logind);
		if (vckpt_logind_due(m->logind) < until)
			until = vckpt_logind_due(m->logind);
	}
	poll(p, 3, until > now ? (int)((until - now) / VCKPT_MS) + 1 : 0);
	return p[0].revents != 0;
}

static int begin(struct monitor *m, struct vckpt_error *err)
{
	m->teller = (struct vckpt_teller){.only = m->ctx->cluster,
					  .host = m->opt->host,
					  .here = m->opt->here,
					  .who = m->ctx->who,
					  .event = m->opt->event,
					  .event_arg = m->opt->event_arg};
	vckpt_edac_init(&m->edac, m->opt->edac_half);
	m->teller.store = vckpt_store_open(m->ctx->store, err);
	if (!m->teller.store)
		return -1;
	if (m->opt->what & VCKPT_MONITOR_LIBVIRT)
		return vckpt_incidents_new(m->opt->uri, m->ctx->log, &m->incidents, err);
	return 0;
}

int vckpt_monitor(const struct vckpt_cluster_ctx *ctx, const struct vckpt_monitor_options *opt,
		  struct vckpt_error *err)
{
	struct monitor m = {.ctx = ctx, .opt = opt};
	int rc = begin(&m, err);
	uint64_t next = 0;

	if (rc == 0 && (opt->what & VCKPT_MONITOR_SHUTDOWN))
		settle(&m, true);
	while (rc == 0) {
		uint64_t now = vckpt_now();

		if (now >= next) {
			look(&m);
			next = now + opt->look_ns;
		}
		take_incidents(&m);
		take_shutdown(&m);
		if (wait_for(&m, next))
			break;
	}
	if (m.going)
		settle(&m, true);
	vckpt_incidents_free(m.incidents);
	vckpt_logind_close(m.logind);
	vckpt_teller_clear(&m.teller);
	vckpt_store_close(m.teller.store);
	return rc;
}
