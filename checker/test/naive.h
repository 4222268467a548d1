/* naive.h: the specification once more, as plainly as possible, and linearizability by trying everything.
 *
 * Shares nothing with the checker but the text of docs/specification.md: nodes are linked lists, states are
 * copied whole, every order is tried. It is the oracle of the property tests and the server of the history
 * simulator. */
#ifndef ASSAY_CHECKER_TEST_NAIVE_H
#define ASSAY_CHECKER_TEST_NAIVE_H

#include "histories/histories.h"

struct naive_tree;

struct naive_tree *naive_tree_new(void);
struct naive_tree *naive_tree_copy(const struct naive_tree *tree);
void naive_tree_free(struct naive_tree *tree);

/* Executes the operation and writes its complete answer; free it with naive_answer_free(). Texts in it live
 * until the tree changes next. */
void naive_execute(struct naive_tree *tree, const struct arguments *asked, uint64_t op_id,
                   struct answer *answer);
void naive_answer_free(struct answer *answer);

/* Whether what was recorded could have been this answer: absent members fit anything. */
bool naive_agrees(enum operation_kind kind, const struct answer *recorded, const struct answer *computed);

/* Every order of every choice of unknown operations. */
bool naive_linearizable(const struct history *history);

/* Whether `order` (positions, `count` of them) is a linearization of the history. */
bool naive_accepts(const struct history *history, const uint32_t *order, size_t count);

#endif
