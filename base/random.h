/* random.h: reproducible random numbers (xoshiro256**, Blackman and Vigna 2018; seeded by splitmix64).
 *
 * One generator belongs to one owner. Whoever needs an independent stream takes one with random_split(), so
 * that drawing more in one place does not shift what another place draws. */
#ifndef ASSAY_RANDOM_H
#define ASSAY_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random {
  uint64_t state[4];
};

void random_seed(struct random *random, uint64_t seed);

/* A generator whose stream is independent of its parent's further draws. */
struct random random_split(struct random *parent);

uint64_t random_next(struct random *random);

/* Uniform in [0, bound); `bound` > 0. No modulo bias (Lemire 2019). */
uint64_t random_below(struct random *random, uint64_t bound);

/* Uniform in [low, high], both included. */
int64_t random_between(struct random *random, int64_t low, int64_t high);

/* Uniform in [0, 1). */
double random_unit(struct random *random);

/* True with the given probability. */
bool random_chance(struct random *random, double probability);

/* Exponentially distributed with the given mean. */
double random_exponential(struct random *random, double mean);

/* Shuffles `count` items of `size` bytes in place (Fisher-Yates); `size` <= 64. */
void random_shuffle(struct random *random, void *items, size_t count, size_t size);

/* 64 bits from the operating system, for a seed that nobody chose. */
uint64_t random_seed_from_system(void);

#endif
