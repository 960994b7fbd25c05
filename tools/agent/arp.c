#include "arp.h"

#include <string.h>

#include "wire/buf.h"

#define TYPE    0x0806
#define REQUEST 1
#define SENDER  22 /* MAC, then address */
#define TARGET  32
#define NUMBER  42 /* behind the packet: padding */
#define MARK    "VCKA"

void vckpt_arp_encode(enum vckpt_arp_kind kind, const uint8_t mac[6], const uint8_t ip[4],
		      uint64_t number, uint8_t out[VCKPT_ARP_LEN])
{
	memset(out, 0, VCKPT_ARP_LEN);
	memset(out, 0xff, 6);
	memcpy(out + 6, mac, 6);
	vckpt_store_be(out + 12, TYPE, 2);
	vckpt_store_be(out + 14, 1, 2);      /* Ethernet */
	vckpt_store_be(out + 16, 0x0800, 2); /* IPv4 */
	out[18] = 6;
	out[19] = 4;
	vckpt_store_be(out + 20, REQUEST, 2);
	memcpy(out + SENDER, mac, 6);
	if (kind == VCKPT_ARP_ANNOUNCE)
		memcpy(out + SENDER + 6, ip, 4);
	memcpy(out + TARGET + 6, ip, 4);
	memcpy(out + NUMBER, MARK, 4);
	vckpt_store_be(out + NUMBER + 4, number, 8);
}

bool vckpt_arp_conflict(const void *frame, size_t len, const uint8_t mac[6], const uint8_t ip[4],
			uint64_t number, uint8_t other[6])
{
	static const uint8_t nobody[4];
	const uint8_t *p = frame;
	bool ours, uses, probes, numbered;

	if (len < NUMBER || vckpt_load_be(p + 12, 2) != TYPE ||
	    vckpt_load_be(p + 16, 2) != 0x0800 || p[18] != 6 || p[19] != 4)
		return false;
	ours = memcmp(p + SENDER, mac, 6) == 0;
	uses = memcmp(p + SENDER + 6, ip, 4) == 0;
	probes = memcmp(p + SENDER + 6, nobody, 4) == 0 && memcmp(p + TARGET + 6, ip, 4) == 0 &&
		 vckpt_load_be(p + 20, 2) == REQUEST;
	numbered = len >= NUMBER + 12 && memcmp(p + NUMBER, MARK, 4) == 0;
	if (!uses && !probes)
		return false;
	/* With our MAC only a number that is not ours tells a copy from an echo. */
	if (ours && (!numbered || vckpt_load_be(p + NUMBER + 4, 8) == number))
		return false;
	memcpy(other, p + SENDER, 6);
	return true;
}
