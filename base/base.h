/* base.h: the door of base/, what every other folder may take for granted.
 *
 * Nothing in here knows what a history, a master or a fault is. */
#ifndef ASSAY_BASE_H
#define ASSAY_BASE_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "base/flags.h"
#include "base/log.h"
#include "base/random.h"
#include "base/time.h"

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* The structure of which `pointer` is the member `member`. */
#define CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
