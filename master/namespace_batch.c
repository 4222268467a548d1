/* namespace_batch.c: several mutations that happen all or not at all, in one step. */
#include "master/bugs.h"
#include "master/namespace_internal.h"

/* Evaluates the items in order, each over what those before it changed, up to the first that fails. */
static enum answer_status evaluate_items(struct namespace *space, const struct request *request,
                                         struct outcome *outcome) {
  const size_t size_before = overlay_open_size(space->overlay);
  for (size_t i = 0; i < request->item_count; i++) {
    struct request item = request->items[i];
    item.op_id = request->op_id;
    struct outcome of_item = {0};
    const bool valid = op_is_batchable(item.code) && !namespace_malformed(&item);
    const enum answer_status status = valid ? namespace_mutate(space, &item, &of_item) : STATUS_INVALID;
    outcome->at = (uint32_t)i;
    if (namespace_is_lost(space))
      return STATUS_UNAVAILABLE;
    if (status != STATUS_OK) {
      outcome->version = of_item.version;
      return status;
    }
    outcome->numbers[i] = *outcome_number(item.code, &of_item);
    outcome->detached |= of_item.detached;
    if (overlay_open_size(space->overlay) > size_before + BATCH_EFFECTS_LIMIT) {
      outcome->stateless = true;
      return STATUS_OVERLOADED;
    }
    if (bug_active(BUG_PARTIAL_BATCH) && !space->defects.trying && i == 0 && request->item_count > 1)
      space->defects.cut(space->defects.cut_context);
  }
  return STATUS_OK;
}

static enum answer_status try_items(struct namespace *space, const struct request *request,
                                    struct outcome *outcome, bool keep) {
  const struct counters before = space->counters;
  const bool trying = space->defects.trying;
  overlay_try(space->overlay);
  space->defects.trying = true;
  const enum answer_status status = evaluate_items(space, request, outcome);
  space->defects.trying = trying;
  if (status == STATUS_OK && keep) {
    overlay_keep(space->overlay);
  } else {
    overlay_take_back(space->overlay);
    space->counters = before;
  }
  return status;
}

enum answer_status namespace_batch(struct namespace *space, const struct request *request,
                                   struct outcome *outcome) {
  /* The defect partial-batch: what would succeed is done item by item, the first in an entry of its own. */
  const bool in_parts = bug_active(BUG_PARTIAL_BATCH);
  enum answer_status status = try_items(space, request, outcome, !in_parts);
  if (status == STATUS_OK && in_parts)
    status = evaluate_items(space, request, outcome);
  if (status == STATUS_OK) {
    outcome->at = 0;
    outcome->number_count = request->item_count;
  } else {
    outcome->detached = false;
  }
  return status;
}
