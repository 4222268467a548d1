/* hash.h: 128-bit hashes of states and of sets of operations.
 *
 * Two independent 64-bit lanes. Sums of them are hashes of multisets, so parts can be added and taken away. A
 * memo of 2^32 configurations meets a false match with a probability of about 2^-65. */
#ifndef ASSAY_CHECKER_HASH_H
#define ASSAY_CHECKER_HASH_H

#include <stdbool.h>
#include <stdint.h>

#define HASH_A UINT64_C(0x9e3779b97f4a7c15)
#define HASH_B UINT64_C(0xd1b54a32d192ed03)

/* Folds the 128-bit product: each bit of the result hangs on every bit of both factors. */
static inline uint64_t hash_mix(uint64_t a, uint64_t b) {
  __uint128_t product = (__uint128_t)(a ^ UINT64_C(0xa0761d6478bd642f)) * (b ^ UINT64_C(0xe7037ed1a0b428db));
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

struct hash {
  uint64_t a, b;
};

static inline struct hash hash_pair(uint64_t x, uint64_t y) {
  return (struct hash){hash_mix(x ^ HASH_A, y), hash_mix(x ^ HASH_B, y + HASH_B)};
}
static inline struct hash hash_with(struct hash hash, uint64_t x) {
  return (struct hash){hash_mix(hash.a + HASH_A, x), hash_mix(hash.b + HASH_B, x ^ HASH_A)};
}
static inline struct hash hash_sum(struct hash x, struct hash y) {
  return (struct hash){x.a + y.a, x.b + y.b};
}
static inline struct hash hash_difference(struct hash x, struct hash y) {
  return (struct hash){x.a - y.a, x.b - y.b};
}
static inline bool hash_equal(struct hash x, struct hash y) {
  return x.a == y.a && x.b == y.b;
}

#endif
