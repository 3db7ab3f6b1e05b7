/* Four rows at a time share each x; SMLAD adds two products, and the order of the sums does not matter to the bits. */
static void dense(const weight_type *weights, const int32_t *bias, const uint16_t *multiplier, const int16_t *x, int16_t *z, uint8_t pairs, uint8_t row_pairs, uint8_t shift)
{
    uint32_t x0, x1, w0, w1;

    for (; row_pairs >= 2; row_pairs = (uint8_t)(row_pairs - 2)) {
        int32_t a = bias[0], b = bias[1], c = bias[2], d = bias[3];
        const weight_type *lower = weights + 4 * pairs;
        const int16_t *at = x;
        uint32_t twos = pairs >> 1;
        if (twos) {
            __asm__ volatile(
                "1:\n\t"
                "ldrd %[x0], %[x1], [%[at]], #8\n\t"
                "ldrd %[w0], %[w1], [%[upper]], #8\n\t"
                "smlad %[a], %[w0], %[x0], %[a]\n\t"
                "smlad %[b], %[w1], %[x0], %[b]\n\t"
                "ldrd %[w0], %[w1], [%[lower]], #8\n\t"
                "smlad %[c], %[w0], %[x0], %[c]\n\t"
                "smlad %[d], %[w1], %[x0], %[d]\n\t"
                "ldrd %[w0], %[w1], [%[upper]], #8\n\t"
                "smlad %[a], %[w0], %[x1], %[a]\n\t"
                "smlad %[b], %[w1], %[x1], %[b]\n\t"
                "ldrd %[w0], %[w1], [%[lower]], #8\n\t"
                "smlad %[c], %[w0], %[x1], %[c]\n\t"
                "smlad %[d], %[w1], %[x1], %[d]\n\t"
                "subs %[twos], %[twos], #1\n\t"
                "bne 1b"
                : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [at] "+r"(at), [upper] "+r"(weights),
                  [lower] "+r"(lower), [twos] "+r"(twos), [x0] "=&r"(x0), [x1] "=&r"(x1), [w0] "=&r"(w0), [w1] "=&r"(w1)
                :
                : "cc", "memory");
        }
        if (pairs & 1) {
            __asm__ volatile(
                "ldr %[x0], [%[at]]\n\t"
                "ldrd %[w0], %[w1], [%[upper]]\n\t"
                "smlad %[a], %[w0], %[x0], %[a]\n\t"
                "smlad %[b], %[w1], %[x0], %[b]\n\t"
                "ldrd %[w0], %[w1], [%[lower]], #8\n\t"
                "smlad %[c], %[w0], %[x0], %[c]\n\t"
                "smlad %[d], %[w1], %[x0], %[d]"
                : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [lower] "+r"(lower), [x0] "=&r"(x0),
                  [w0] "=&r"(w0), [w1] "=&r"(w1)
                : [at] "r"(at), [upper] "r"(weights)
                : "memory");
        }
        weights = lower;
        z[0] = scaled(a, multiplier[0], shift);
        z[1] = scaled(b, multiplier[1], shift);
        z[2] = scaled(c, multiplier[2], shift);
        z[3] = scaled(d, multiplier[3], shift);
        bias += 4;
        multiplier += 4;
        z += 4;
    }
    if (row_pairs) {
        int32_t a = bias[0], b = bias[1];
        uint32_t left = pairs;
        __asm__ volatile(
            "1:\n\t"
            "ldr %[x0], [%[at]], #4\n\t"
            "ldrd %[w0], %[w1], [%[upper]], #8\n\t"
            "smlad %[a], %[w0], %[x0], %[a]\n\t"
            "smlad %[b], %[w1], %[x0], %[b]\n\t"
            "subs %[left], %[left], #1\n\t"
            "bne 1b"
            : [a] "+r"(a), [b] "+r"(b), [at] "+r"(x), [upper] "+r"(weights), [left] "+r"(left), [x0] "=&r"(x0),
              [w0] "=&r"(w0), [w1] "=&r"(w1)
            :
            : "cc", "memory");
        z[0] = scaled(a, multiplier[0], shift);
        z[1] = scaled(b, multiplier[1], shift);
    }
}
