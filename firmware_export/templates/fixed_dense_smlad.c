static int16_t scaled(int32_t total, uint8_t multiplier, uint8_t shift)
{
    const int32_t z = ((total >> 8) * (int32_t)multiplier) >> shift;
    int32_t limited;

    __asm__("ssat %0, #16, %1" : "=r"(limited) : "r"(z));
    return (int16_t)limited;
}
