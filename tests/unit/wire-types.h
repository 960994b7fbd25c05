/* wire-types.h: every message there is, for tests and fuzzers. */
#ifndef TEST_WIRE_TYPES_H
#define TEST_WIRE_TYPES_H

#include "wire/agent_msg.h"
#include "wire/client_msg.h"
#include "wire/host_msg.h"
#include "wire/tree_msg.h"

static const struct vckpt_type *const types[] = {
	&vckpt_agent_hello_type,    &vckpt_agent_welcome_type,   &vckpt_agent_ask_type,
	&vckpt_agent_reply_type,    &vckpt_agent_hold_type,      &vckpt_agent_quiet_type,
	&vckpt_agent_released_type, &vckpt_agent_restored_type,  &vckpt_agent_findings_type,
	&vckpt_client_attach_type,  &vckpt_client_attached_type, &vckpt_client_say_type,
	&vckpt_client_answer_type,  &vckpt_client_event_type,    &vckpt_agent_listen_type,
	&vckpt_agent_news_type,     &vckpt_host_hello_type,      &vckpt_host_welcome_type,
	&vckpt_host_request_type,   &vckpt_host_event_type,      &vckpt_host_ping_type,
	&vckpt_agent_wish_type,     &vckpt_agent_report_type,    &vckpt_agent_peer_type,
	&vckpt_agent_loud_type,     &vckpt_finding_type,         &vckpt_agent_process_type,
	&vckpt_agent_hook_type,     &vckpt_agent_hooked_type,    &vckpt_agent_file_type,
	&vckpt_agent_rewind_type,   &vckpt_agent_rewound_type,   &vckpt_host_nic_type,
	&vckpt_agent_anew_type,     &vckpt_tree_host_type,       &vckpt_tree_route_type,
	&vckpt_tree_target_type,    &vckpt_tree_group_type,      &vckpt_tree_number_type,
	&vckpt_tree_ask_type,       &vckpt_tree_item_type,       &vckpt_tree_tell_type,
};

#endif
