#include "wire/client_msg.h"

static const struct vckpt_field node_fields[] = {
	VCKPT_F_STR(struct vckpt_client_node, name, 1),
};
const struct vckpt_type vckpt_client_node_type = VCKPT_TYPE(vckpt_client_node, node_fields);

static const struct vckpt_field attach_fields[] = {
	VCKPT_F_UINT(struct vckpt_client_attach, lowest, 1),
	VCKPT_F_UINT(struct vckpt_client_attach, highest, 1),
	VCKPT_F_UINT(struct vckpt_client_attach, rank_plus1, 1),
	VCKPT_F_UINT(struct vckpt_client_attach, size, 1),
	VCKPT_F_STR(struct vckpt_client_attach, job, 1),
	VCKPT_F_STR(struct vckpt_client_attach, program, 1),
	VCKPT_F_STR(struct vckpt_client_attach, launcher, 1),
	VCKPT_F_LIST(struct vckpt_client_attach, nodes, 1, &vckpt_client_node_type),
};
const struct vckpt_type vckpt_client_attach_type = VCKPT_TYPE(vckpt_client_attach, attach_fields);

static const struct vckpt_field attached_fields[] = {
	VCKPT_F_UINT(struct vckpt_client_attached, version, 1),
	VCKPT_F_STR(struct vckpt_client_attached, text, 1),
};
const struct vckpt_type vckpt_client_attached_type =
	VCKPT_TYPE(vckpt_client_attached, attached_fields);

#define SAY struct vckpt_client_say
static const struct vckpt_field say_fields[] = {
	VCKPT_F_UINT(SAY, seq, 1),   VCKPT_F_UINT(SAY, verb, 1),  VCKPT_F_UINT(SAY, time_ns, 1),
	VCKPT_F_UINT(SAY, value, 1), VCKPT_F_UINT(SAY, total, 1), VCKPT_F_STR(SAY, name, 1),
	VCKPT_F_STR(SAY, text, 1),
};
const struct vckpt_type vckpt_client_say_type = VCKPT_TYPE(vckpt_client_say, say_fields);

#define ANSWER struct vckpt_client_answer
static const struct vckpt_field answer_fields[] = {
	VCKPT_F_UINT(ANSWER, seq, 1),         VCKPT_F_UINT(ANSWER, code, 1),
	VCKPT_F_UINT(ANSWER, retry_ns, 1),    VCKPT_F_UINT(ANSWER, epoch, 1),
	VCKPT_F_UINT(ANSWER, incarnation, 1), VCKPT_F_STR(ANSWER, text, 1),
};
const struct vckpt_type vckpt_client_answer_type = VCKPT_TYPE(vckpt_client_answer, answer_fields);

#define EVENT struct vckpt_client_event
static const struct vckpt_field event_fields[] = {
	VCKPT_F_UINT(EVENT, kind, 1),
	VCKPT_F_UINT(EVENT, code, 1),
	VCKPT_F_UINT(EVENT, epoch, 1),
	VCKPT_F_UINT(EVENT, incarnation, 1),
};
const struct vckpt_type vckpt_client_event_type = VCKPT_TYPE(vckpt_client_event, event_fields);
