/*
 * Random numbers that a seed and an index fix: the i-th needs no i-1 before it, so threads can
 * share a sequence without a lock.
 */
#ifndef FLASHOVER_COMMON_RANDOM_H
#define FLASHOVER_COMMON_RANDOM_H

#include <stdint.h>

/* The finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
 * generators", 2014): a hash whose every bit depends on all of z. */
static inline uint64_t random_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Number `index` (from 0) of the sequence of SplitMix64 that `seed` starts. */
static inline uint64_t random_at(uint64_t seed, uint64_t index)
{
    return random_mix(seed + (index + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

/* The same as a double in (0, 1]: its logarithm is finite. */
static inline double random_unit_at(uint64_t seed, uint64_t index)
{
    return (double)((random_at(seed, index) >> 11) + 1) * 0x1p-53;
}

#endif
