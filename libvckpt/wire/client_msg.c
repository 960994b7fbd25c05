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
