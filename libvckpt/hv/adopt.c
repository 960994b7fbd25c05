#include "hv/private.h"

#include "hv/survey.h"

static const char channel_xml[] =
	"<channel type='unix'><target type='virtio' name='" VCKPT_CHANNEL "'/></channel>";

/* 1: the definition that `flags` choose has the channel; 0: it has not. */
static int has_channel(struct vckpt_domain *dom, virDomainPtr ptr, unsigned flags,
		       struct vckpt_error *err)
{
	vckpt_autofree char *xml = virDomainGetXMLDesc(ptr, flags);
	json_auto_t *survey = NULL;

	if (!xml)
		return vckpt_virt_fail(err, "definition of domain %s", dom->name);
	if (vckpt_survey_parse(xml, &survey, err) < 0)
		return vckpt_error_prefix(err, "domain %s", dom->name);
	return json_is_object(json_object_get(survey, "channel"));
}

static void say(json_t *list, const char *text)
{
	json_array_append_new(list, json_string(text));
}

static int adopt_definition(struct vckpt_domain *dom, virDomainPtr ptr, json_t *changed,
			    struct vckpt_error *err)
{
	int autostart = 0, has = has_channel(dom, ptr, VIR_DOMAIN_XML_INACTIVE, err);

	if (has < 0)
		return -1;
	if (!has) {
		if (virDomainAttachDeviceFlags(ptr, channel_xml, VIR_DOMAIN_AFFECT_CONFIG) < 0)
			return vckpt_virt_fail(
				err, "cannot add the channel to the definition of %s", dom->name);
		say(changed, "channel " VCKPT_CHANNEL " added to the definition");
	}
	if (virDomainGetAutostart(ptr, &autostart) == 0 && autostart) {
		/* After a host comes back, an old incarnation must not start beside the new one. */
		if (virDomainSetAutostart(ptr, 0) < 0)
			return vckpt_virt_fail(err, "cannot take autostart from domain %s",
					       dom->name);
		say(changed, "autostart taken away");
	}
	return 0;
}

/* 1: the running guest lacks the channel and must be started anew. */
static int adopt_running(struct vckpt_domain *dom, virDomainPtr ptr, json_t *changed, json_t *notes,
			 struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	int has = has_channel(dom, ptr, 0, err);

	if (has != 0)
		return has < 0 ? -1 : 0;
	if (virDomainAttachDeviceFlags(ptr, channel_xml, VIR_DOMAIN_AFFECT_LIVE) == 0) {
		say(changed, "channel " VCKPT_CHANNEL " plugged into the running guest");
		return 0;
	}
	vckpt_virt_fail(&why, "the channel cannot be plugged into the running guest");
	say(notes, why.text);
	return 1;
}

int vckpt_domain_adopt(struct vckpt_domain *dom, char **json, struct vckpt_error *err)
{
	json_auto_t *changed = json_array(), *notes = json_array(), *all = NULL;
	vckpt_autodom virDomainPtr ptr = NULL;
	int anew = 0;

	if (!changed || !notes)
		return vckpt_fail(err, VCKPT_EFAIL, "no memory to adopt a domain");
	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	if (virDomainIsPersistent(ptr) == 1) {
		if (adopt_definition(dom, ptr, changed, err) < 0)
			return -1;
	} else {
		say(notes,
		    "the domain is transient: libvirt forgets it when it ends; its checkpoints "
		    "hold its definition");
	}
	if (virDomainIsActive(ptr) == 1)
		anew = adopt_running(dom, ptr, changed, notes, err);
	if (anew < 0)
		return -1;
	all = json_pack("{s:O, s:O, s:b}", "changed", changed, "notes", notes, "restart_needed",
			anew);
	*json = all ? json_dumps(all, JSON_COMPACT) : NULL;
	return *json ? 0 : vckpt_fail(err, VCKPT_EFAIL, "no memory to adopt a domain");
}
