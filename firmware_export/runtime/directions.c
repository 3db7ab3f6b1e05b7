#include "directions.h"

#include "directions_table.h"

static uint32_t rotate(uint32_t x, unsigned n)
{
    return (x << n) | (x >> (32u - n));
}

void threefry2x32(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t *out)
{
    static const uint8_t rotations[8] ROM = {13, 15, 26, 6, 17, 29, 16, 24};
    const uint32_t ks[3] = {k0, k1, k0 ^ k1 ^ (uint32_t)0x1BD11BDAUL};
    uint32_t x0 = c0 + ks[0];
    uint32_t x1 = c1 + ks[1];
    unsigned r;

    for (r = 0; r < 20; r++) {
        x0 += x1;
        x1 = rotate(x1, rom_u8(&rotations[r % 8])) ^ x0;
        if (r % 4 == 3) {
            const unsigned j = r / 4 + 1;
            x0 += ks[j % 3];
            x1 += ks[(j + 1) % 3] + j;
        }
    }
    out[0] = x0;
    out[1] = x1;
}

float direction_normal(uint32_t bits)
{
    uint32_t magnitude = bits & (uint32_t)0x7FFFFFFFUL;
    uint32_t octave = 0;
    uint32_t at, high, low, z;
    float value;

    if (magnitude == 0) {
        magnitude = 1;
    }
    while (!(magnitude & (uint32_t)0x40000000UL)) { /* at most 30 times: a bit is set */
        magnitude <<= 1;
        octave++;
    }
    /* below the leading one: 4 bits choose the cell, the next 16 interpolate in it */
    at = octave * (DIRECTIONS_CELLS + 1) + ((magnitude >> 26) & 0xFu);
    high = rom_u16(&directions_table[at]);
    low = rom_u16(&directions_table[at + 1]);
    z = (high << 16) - (high - low) * ((magnitude >> 10) & 0xFFFFu); /* 29 fraction bits */
    value = (float)(z >> (29u - DIRECTIONS_OUTPUT_FRACTION_BITS)) * (1.0f / (float)(1UL << DIRECTIONS_OUTPUT_FRACTION_BITS));
    return (bits >> 31) ? -value : value;
}

uint32_t directions_fold(uint32_t seed, uint32_t place)
{
    uint32_t words[2];
    threefry2x32(seed, DIRECTIONS_FOLD, place, 0, words);
    return words[0];
}

void direction_start(struct direction *direction, uint32_t seed)
{
    direction->seed = seed;
    direction->ready = 0;
}

float direction_element(struct direction *direction, uint32_t index)
{
    const uint32_t block = index / 2;

    if (!direction->ready || direction->block != block) {
        threefry2x32(direction->seed, DIRECTIONS_STREAM, block, 0, direction->words);
        direction->block = block;
        direction->ready = 1;
    }
    return direction_normal(direction->words[index % 2]);
}
