/* (total * multiplier) >> shift, in two products of 32 bits. */
static int16_t scaled(int32_t total, uint16_t multiplier, uint8_t shift)
{
    const int32_t upper = (total >> 16) * (int32_t)multiplier;
    const uint32_t lower = (uint32_t)(uint16_t)total * multiplier;
    const int32_t z = (upper + (int32_t)(lower >> 16)) >> (shift - 16);

    if (z > 32767) {
        return 32767;
    }
    if (z < -32768) {
        return -32768;
    }
    return (int16_t)z;
}

static void dense(const weight_type *weights, const int32_t *bias, const uint16_t *multiplier, const int16_t *x, int16_t *z, uint8_t pairs, uint8_t row_pairs, uint8_t shift)
{
    uint8_t pair;

    for (; row_pairs; row_pairs--) {
        int32_t first = (int32_t)rom_32(bias);
        int32_t second = (int32_t)rom_32(bias + 1);
        const int16_t *at = x;
        for (pair = pairs; pair; pair--) {
            const int32_t left = at[0];
            const int32_t right = at[1];
            first += (int32_t)(weight_type)ROM_WEIGHT(weights) * left;
            first += (int32_t)(weight_type)ROM_WEIGHT(weights + FIRST_RIGHT) * right;
            second += (int32_t)(weight_type)ROM_WEIGHT(weights + SECOND_LEFT) * left;
            second += (int32_t)(weight_type)ROM_WEIGHT(weights + 3) * right;
            weights += 4;
            at += 2;
        }
        z[0] = scaled(first, rom_16(multiplier), shift);
        z[1] = scaled(second, rom_16(multiplier + 1), shift);
        bias += 2;
        multiplier += 2;
        z += 2;
    }
}
