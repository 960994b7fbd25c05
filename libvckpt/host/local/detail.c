#include "host/local/internal.h"

/* Of what a guest lists, so much goes on into records and reports. */
#define LISTED 1024

static uint32_t listed(const struct vckpt_list *l)
{
	return l->n < LISTED ? l->n : LISTED;
}

json_t *vckpt_detail_tcp(const struct vckpt_agent_tcp *t)
{
	return json_pack("{sI sI sI sI sI sI sI}", "out_segs", (json_int_t)t->out_segs,
			 "retrans_segs", (json_int_t)t->retrans_segs, "timeouts",
			 (json_int_t)t->timeouts, "spurious_rtos", (json_int_t)t->spurious_rtos,
			 "dsack_received", (json_int_t)t->dsack_received, "lost",
			 (json_int_t)t->lost, "probes", (json_int_t)t->probes);
}

json_t *vckpt_detail_welcome(const struct vckpt_agent_welcome *w)
{
	return json_pack("{si ss ss ss si si si}", "protocol", w->version, "version", w->agent,
			 "gates", w->gates, "boot_id", w->boot_id, "generation", (int)w->generation,
			 "incarnation", (int)w->incarnation, "processes", (int)w->processes);
}

json_t *vckpt_detail_loud(const struct vckpt_list *loud)
{
	const struct vckpt_agent_loud *v = loud->v;
	json_t *a = json_array();

	for (uint32_t i = 0; i < listed(loud); i++) {
		json_t *rank = v[i].rank_plus1 ? json_integer(v[i].rank_plus1 - 1) : json_null();

		json_array_append_new(a, json_pack("{sI so ss sI ss}", "pid", (json_int_t)v[i].pid,
						   "rank", rank, "peer", v[i].peer, "bytes",
						   (json_int_t)v[i].bytes, "what", v[i].what));
	}
	return a;
}

json_t *vckpt_detail_finding(const char *id, enum vckpt_finding_level level, const char *object,
			     const char *text, const char *cure)
{
	static const char *const levels[] = {"ok", "note", "warn", "bad"};

	return json_pack("{ss ss ss ss ss}", "id", id, "level",
			 levels[(unsigned)level <= VCKPT_FINDING_BAD ? level : VCKPT_FINDING_BAD],
			 "object", object, "text", text, "cure", cure);
}

json_t *vckpt_detail_findings(const struct vckpt_list *findings)
{
	const struct vckpt_finding *v = findings->v;
	json_t *a = json_array();

	for (uint32_t i = 0; i < listed(findings); i++)
		json_array_append_new(a, vckpt_detail_finding(v[i].id, v[i].level, v[i].object,
							      v[i].text, v[i].cure));
	return a;
}

json_t *vckpt_detail_processes(const struct vckpt_list *processes)
{
	const struct vckpt_agent_process *v = processes->v;
	json_t *a = json_array();

	for (uint32_t i = 0; i < listed(processes); i++) {
		json_t *rank = v[i].rank_plus1 ? json_integer(v[i].rank_plus1 - 1) : json_null();

		json_array_append_new(
			a, json_pack("{sI so sI sb ss ss}", "pid", (json_int_t)v[i].pid, "rank",
				     rank, "size", (json_int_t)v[i].job_size, "gated",
				     (int)v[i].gated, "job", v[i].job, "program", v[i].program));
	}
	return a;
}

void vckpt_detail_frozen(json_t *detail, const struct vckpt_agent_quiet *q)
{
	json_object_set_new(detail, "frozen", json_string(q->frozen));
	if (q->unfrozen[0])
		json_object_set_new(detail, "unfrozen", json_string(q->unfrozen));
}

void vckpt_detail_files(json_t *detail, const struct vckpt_list *files)
{
	const struct vckpt_agent_file *v = files->v;
	json_t *list;

	if (!files->n)
		return;
	list = json_array();
	for (uint32_t i = 0; i < files->n; i++)
		json_array_append_new(
			list, json_pack("{ss ss sI sb sI sI sI}", "path", v[i].path, "type",
					v[i].type, "pid", (json_int_t)v[i].pid, "append",
					(int)v[i].append, "length", (json_int_t)v[i].length, "dev",
					(json_int_t)v[i].dev, "inode", (json_int_t)v[i].inode));
	json_object_set_new(detail, "files", list);
}

json_t *vckpt_detail_rewound(const struct vckpt_agent_rewound *r)
{
	const struct vckpt_agent_rewound_file *v = r->files.v;
	json_t *list = json_array();

	for (uint32_t i = 0; i < r->files.n; i++)
		json_array_append_new(
			list, json_pack("{ss sI sI sI ss ss ss}", "path", v[i].path, "pid",
					(json_int_t)v[i].pid, "length", (json_int_t)v[i].length,
					"was", (json_int_t)v[i].was, "saved", v[i].saved, "code",
					vckpt_code_name(v[i].code > VCKPT_ECANCELED ? VCKPT_EPEER
										    : v[i].code),
					"text", v[i].text));
	return json_pack("{ss ss so}", "code", vckpt_code_name(r->code), "text", r->text, "files",
			 list);
}
