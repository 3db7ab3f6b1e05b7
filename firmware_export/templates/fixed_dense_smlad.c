/* (total * multiplier) >> shift: SMULWB leaves the upper 32 of 48 bits. */
static int16_t scaled(int32_t total, uint16_t multiplier, uint8_t shift)
{
    int32_t z;

    __asm__("smulwb %0, %1, %2" : "=r"(z) : "r"(total), "r"(multiplier));
    z = z >> (shift - 16);
    __asm__("ssat %0, #16, %0" : "+r"(z));
    return (int16_t)z;
}
