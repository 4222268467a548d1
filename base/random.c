#include "base/random.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

static uint64_t splitmix(uint64_t *state) {
  uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

void random_seed(struct random *random, uint64_t seed) {
  for (int i = 0; i < 4; i++)
    random->state[i] = splitmix(&seed);
}

static uint64_t rotate(uint64_t x, int k) {
  return (x << k) | (x >> (64 - k));
}

uint64_t random_next(struct random *random) {
  uint64_t *s = random->state;
  const uint64_t result = rotate(s[1] * 5, 7) * 9;
  const uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return result;
}

struct random random_split(struct random *parent) {
  struct random child;
  random_seed(&child, random_next(parent));
  return child;
}

uint64_t random_below(struct random *random, uint64_t bound) {
  assert(bound > 0);
  unsigned __int128 product = (unsigned __int128)random_next(random) * bound;
  if ((uint64_t)product < bound) {
    const uint64_t threshold = -bound % bound;
    while ((uint64_t)product < threshold)
      product = (unsigned __int128)random_next(random) * bound;
  }
  return (uint64_t)(product >> 64);
}

int64_t random_between(struct random *random, int64_t low, int64_t high) {
  assert(low <= high);
  const uint64_t width = (uint64_t)high - (uint64_t)low + 1;
  if (width == 0)
    return (int64_t)random_next(random);
  return (int64_t)((uint64_t)low + random_below(random, width));
}

double random_unit(struct random *random) {
  return (double)(random_next(random) >> 11) * 0x1p-53;
}

bool random_chance(struct random *random, double probability) {
  return random_unit(random) < probability;
}

double random_exponential(struct random *random, double mean) {
  return -mean * log1p(-random_unit(random));
}

void random_shuffle(struct random *random, void *items, size_t count, size_t size) {
  unsigned char *bytes = items, kept[64];
  assert(size <= sizeof kept);
  for (size_t i = count; i > 1; i--) {
    const size_t j = (size_t)random_below(random, i);
    memcpy(kept, bytes + j * size, size);
    memmove(bytes + j * size, bytes + (i - 1) * size, size);
    memcpy(bytes + (i - 1) * size, kept, size);
  }
}

uint64_t random_seed_from_system(void) {
  uint64_t seed = 0;
  const ssize_t got = getrandom(&seed, sizeof seed, 0);
  assert(got == sizeof seed); /* it cannot fail for 8 bytes */
  return seed;
}
