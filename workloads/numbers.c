/* numbers.c: client numbers for the sessions, reserved from the cluster in blocks. */
#include "workloads/process.h"

/* A block serves every session once and leaves some for those that meet an info. */
#define NUMBERS_SPARE 64
#define RETRY_MS 50

static void retry_later(uv_timer_t *timer) {
  numbers_provide(timer->data);
}

static void on_reserved(void *context, uint32_t first, const struct master_answer *answer) {
  struct client_process *process = context;
  process->reserving = false;
  if (process->closing)
    return;
  if (first == 0 || answer->outcome != MASTER_OK) {
    uv_timer_start(&process->number_timer, retry_later, RETRY_MS, 0);
    return;
  }
  process->next_number = first;
  process->number_count = (uint32_t)process->session_count + NUMBERS_SPARE;
  numbers_provide(process);
  sessions_start_due(process);
}

void numbers_provide(struct client_process *process) {
  while (process->number_count > 0 && process->numberless.first) {
    struct session *session = session_queue_pop(&process->numberless);
    session->number = process->next_number++;
    process->number_count--;
    session->sequence = 0;
    session->state = SESSION_IDLE;
    session_queue_push(&process->idle, session);
  }
  if (process->number_count > 0 || process->reserving || process->stopping)
    return;
  process->reserving = true;
  master_client_reserve(process->control, (uint32_t)process->session_count + NUMBERS_SPARE, on_reserved,
                        process);
}
