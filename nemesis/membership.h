/* membership.h: brings the members of a cluster's journal to what is wanted (roster.h), by asking whoever is
 * primary, one request at a time, for as long as it takes. */
#ifndef ASSAY_NEMESIS_MEMBERSHIP_H
#define ASSAY_NEMESIS_MEMBERSHIP_H

#include "nemesis/cluster.h"

struct membership;

struct membership *membership_new(struct cluster *cluster);
/* The loop must run once more for its handle to close. NULL is fine. */
void membership_free(struct membership *membership);

/* NULL: nobody is asked any more. */
void membership_set_door(struct membership *membership, const struct members_door *door);
bool membership_has_door(const struct membership *membership);

/* Whom to ask; -1: nobody is known. */
void membership_note_primary(struct membership *membership, int primary);

/* What is wanted; from then on it is worked on. */
void membership_want(struct membership *membership, size_t node, enum seat seat);
/* It does not run while it is no member. */
void membership_let_stop(struct membership *membership, size_t node);
/* It loses its data before it runs again, and is no member meanwhile. It must not run. */
void membership_lay_bare(struct membership *membership, size_t node);
void membership_want_leader(struct membership *membership, int node);
/* The founders vote, and nobody else is a member or runs; so until something else is wanted. */
void membership_go_home(struct membership *membership);

bool membership_is_going_home(const struct membership *membership);

/* Asks that one node, which is believed to be primary, to make a standby of a voter, once, and whatever it is
 * to lead to. False while another question is out. What comes of it is undone by what is wanted. */
bool membership_ask_to_demote(struct membership *membership, size_t asked, size_t voter);

/* 0: a primary has said, since the last change of what is wanted, that all is so; GOES_ON, and what it waits
 * for in `error`. */
int membership_await(struct membership *membership, struct error *error);

/* Something was wanted at some time. */
bool membership_was_used(const struct membership *membership);

/* As they were last seen. */
enum seat membership_seat(const struct membership *membership, size_t node);
/* How many changes were carried out, leaders handed over included. */
size_t membership_changes(const struct membership *membership);

#endif
