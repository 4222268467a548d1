/* masters.h: a bed's real masters, asked who the members of their journal are, and to change them, by the
 * command `assay admin journal quorum`: another way than the one by which the harness lets the nemesis ask.
 */
#ifndef ASSAY_NEMESIS_TEST_MASTERS_H
#define ASSAY_NEMESIS_TEST_MASTERS_H

#include "nemesis/test/table/bed.h"

struct masters;

/* Starts all founders; one of them, BED_PRIMARY, leads when this returns. From then on the nemesis is told
 * who leads whenever that changes, as long as the bed's loop runs. */
struct masters *masters_open(struct bed *bed);
void masters_close(struct masters *masters);

/* The members as the one that leads tells them, once they are committed. Waits for that. */
struct members masters_look(struct bed *bed);

/* As that node has them, committed or not; false when it does not answer. */
bool masters_look_at(const struct bed *bed, size_t node, struct members *members);

#endif
