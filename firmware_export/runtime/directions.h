/*
 * directions.h - search directions, element by element, without storing the vector.
 * The twin of esmaml_robot/directions.py, bit for bit: integers only, then one exact scaling by a power of two.
 */
#ifndef DIRECTIONS_H
#define DIRECTIONS_H

#include <stdint.h>

/* The stream of one seed; two elements come out of one block. */
struct direction {
    uint32_t seed;
    uint32_t block;    /* whose words are kept */
    uint32_t words[2];
    uint8_t ready;
};

/* Threefry-2x32 with 20 rounds: out[2] of key (k0, k1) and counter (c0, c1). */
void threefry2x32(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t *out);

/* 32 random bits to a standard normal deviate, a multiple of 2^-21. */
float direction_normal(uint32_t bits);

void direction_start(struct direction *direction, uint32_t seed);

/* Element `index` of the direction; cheapest when asked for in order. */
float direction_element(struct direction *direction, uint32_t index);

/* A new seed out of a seed and the number of a place; directions.fold() of directions.py. */
uint32_t directions_fold(uint32_t seed, uint32_t place);

#endif
