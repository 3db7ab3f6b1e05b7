#include "moments.h"

#include <string.h>

#include "rom.h"

#define ROOT_BITS 25 /* 24 of the result, and one to round by */
#define INFINITE ((uint32_t)0x7F800000UL)

void moments_add(struct moments *moments, float value)
{
    const uint16_t count = (uint16_t)(moments->count + 1u);
    const float apart = value - moments->mean;
    const float mean = moments->mean + apart / (float)count;

    moments->squares = moments->squares + apart * (value - mean);
    moments->mean = mean;
    moments->count = count;
}

int moments_repeat(const struct moments *moments)
{
    return moments->count > 1 && moments->squares == 0.0f; /* exactly: equal values leave nothing else */
}

float moments_sqrt(float value)
{
    uint32_t bits, digits, root = 0, rest = 0;
    int16_t power; /* value = digits * 2^power */
    uint8_t i;
    float result;

    memcpy(&bits, &value, sizeof bits);
    if ((bits << 1) == 0 || bits == INFINITE) {
        return value;
    }
    if (bits > INFINITE) { /* negative, or NaN */
        bits = INFINITE | (uint32_t)0x00400000UL;
        memcpy(&result, &bits, sizeof result);
        return result;
    }
    power = (int16_t)((int16_t)(bits >> 23) - 150);
    digits = bits & (uint32_t)0x007FFFFFUL;
    if (power == -150) { /* subnormal: at most 23 turns, a bit is set */
        power = -149;
        while (!(digits & (uint32_t)0x00800000UL)) {
            digits <<= 1;
            power--;
        }
    } else {
        digits |= (uint32_t)0x00800000UL;
    }
    /* digit by digit, two bits of the radicand at a time, from its highest pair on; the power must be even for that */
    if (power & 1) {
        digits <<= 7;
        power = (int16_t)(power - 25); /* one place of its own, 24 for the zeros that are brought down */
    } else {
        digits <<= 8;
        power = (int16_t)(power - 26);
    }
    for (i = 0; i < ROOT_BITS; i++) {
        const uint32_t trial = (root << 2) | 1u;
        rest = (rest << 2) | (digits >> 30);
        digits <<= 2;
        root <<= 1;
        if (rest >= trial) {
            rest -= trial;
            root |= 1u;
        }
    }
    /* a tie cannot be: the square of an odd root is odd, and the radicand ends in zeros */
    root = (root >> 1) + (root & 1u);
    /* the sum carries into the exponent where the root became 2^24 */
    bits = ((uint32_t)(power / 2 + 1 + 150) << 23) + (root - (uint32_t)0x00800000UL);
    memcpy(&result, &bits, sizeof result);
    return result;
}

float moments_t975(uint16_t freedom)
{
    static const float table[] ROM = {12.706f, 4.303f, 3.182f, 2.776f, 2.571f, 2.447f, 2.365f, 2.306f,
                                      2.262f,  2.228f, 2.201f, 2.179f, 2.160f, 2.145f, 2.131f};
    const float n = (float)freedom;

    if (freedom <= sizeof table / sizeof table[0]) {
        return rom_f32(&table[freedom - 1]);
    }
    return 1.95996f + 2.37227f / n + 2.82250f / (n * n);
}
