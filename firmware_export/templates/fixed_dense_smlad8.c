/* Four weights a word: bytes 0 and 2 are of the first row, 1 and 3 of the second; SXTB16 makes them halves of words. */
static void dense(const weight_type *weights, const int32_t *bias, const uint16_t *multiplier, const int16_t *x, int16_t *z, uint8_t pairs, uint8_t row_pairs, uint8_t shift)
{
    uint32_t x0, x1, w0, w1, first, second;

    for (; row_pairs; row_pairs--) {
        int32_t a = bias[0], b = bias[1];
        const int16_t *at = x;
        uint32_t twos = pairs >> 1;
        if (twos) {
            __asm__ volatile(
                "1:\n\t"
                "ldr %[w0], [%[w]], #4\n\t"
                "ldr %[w1], [%[w]], #4\n\t"
                "ldrd %[x0], %[x1], [%[at]], #8\n\t"
                "sxtb16 %[first], %[w0]\n\t"
                "sxtb16 %[second], %[w0], ror #8\n\t"
                "smlad %[a], %[first], %[x0], %[a]\n\t"
                "smlad %[b], %[second], %[x0], %[b]\n\t"
                "sxtb16 %[first], %[w1]\n\t"
                "sxtb16 %[second], %[w1], ror #8\n\t"
                "smlad %[a], %[first], %[x1], %[a]\n\t"
                "smlad %[b], %[second], %[x1], %[b]\n\t"
                "subs %[twos], %[twos], #1\n\t"
                "bne 1b"
                : [a] "+r"(a), [b] "+r"(b), [at] "+r"(at), [w] "+r"(weights), [twos] "+r"(twos), [x0] "=&r"(x0),
                  [x1] "=&r"(x1), [w0] "=&r"(w0), [w1] "=&r"(w1), [first] "=&r"(first), [second] "=&r"(second)
                :
                : "cc", "memory");
        }
        if (pairs & 1) {
            __asm__ volatile(
                "ldr %[w0], [%[w]], #4\n\t"
                "ldr %[x0], [%[at]]\n\t"
                "sxtb16 %[first], %[w0]\n\t"
                "sxtb16 %[second], %[w0], ror #8\n\t"
                "smlad %[a], %[first], %[x0], %[a]\n\t"
                "smlad %[b], %[second], %[x0], %[b]"
                : [a] "+r"(a), [b] "+r"(b), [w] "+r"(weights), [x0] "=&r"(x0), [w0] "=&r"(w0), [first] "=&r"(first),
                  [second] "=&r"(second)
                : [at] "r"(at)
                : "memory");
        }
        z[0] = scaled(a, multiplier[0], shift);
        z[1] = scaled(b, multiplier[1], shift);
        bias += 2;
        multiplier += 2;
        z += 2;
    }
}
