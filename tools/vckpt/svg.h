/* svg.h: pictures, as plain text. */
#ifndef VCKPT_TOOL_SVG_H
#define VCKPT_TOOL_SVG_H

#include <jansson.h>
#include <stdio.h>

/* The phases of one epoch, for each guest, from its record: above what stands between the job and
 * its going on, below the whole.  What the record does not have is left out. */
void tool_svg_timeline(FILE *to, const json_t *record);

#endif
