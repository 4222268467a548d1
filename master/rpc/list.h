/* list.h: doubly linked lists whose links are members of the items. A list is a link that items hang on; an
 * item's link is in one list or, after list_init, in none. */
#ifndef ASSAY_MASTER_RPC_LIST_H
#define ASSAY_MASTER_RPC_LIST_H

#include <stdbool.h>

struct list {
  struct list *next, *previous;
};

static inline void list_init(struct list *list) {
  list->next = list->previous = list;
}

static inline bool list_is_empty(const struct list *list) {
  return list->next == list;
}

static inline void list_append(struct list *list, struct list *item) {
  item->next = list;
  item->previous = list->previous;
  list->previous->next = item;
  list->previous = item;
}

static inline void list_prepend(struct list *list, struct list *item) {
  list_append(list->next, item);
}

/* No effect on an item that is in no list. */
static inline void list_remove(struct list *item) {
  item->previous->next = item->next;
  item->next->previous = item->previous;
  list_init(item);
}

#endif
