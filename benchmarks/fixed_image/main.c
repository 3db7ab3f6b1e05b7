/*
 * main.c - every network of nets.h on the same rows of inputs: its selftest, a sum over all that it gives, and what a
 * call takes. The rows are functions of their number, and benchmarks/fixed_images.py makes the same ones.
 */
#include "nets.h"
#include "port.h"

#define BUFFER(name, NAME) name##_buffer name;
static union {
    NETS(BUFFER)
} buffers;

static int16_t counts[MOST_INPUTS];
static int16_t commands[MOST_OUTPUTS];

static uint32_t mixed(uint32_t value)
{
    value ^= value >> 16;
    value *= 0x85EBCA6Bu;
    value ^= value >> 13;
    value *= 0xC2B2AE35u;
    return value ^ (value >> 16);
}

/* Of four rows, two are random over 16 bits, one is small, and one made of extremes. */
static void make_row(uint32_t row, int width)
{
    static const int16_t extremes[8] = {-32767 - 1, 32767, 0, -1, 1, 32766, -32767, 256};
    int i;

    for (i = 0; i < width; i++) {
        const uint32_t bits = mixed(SEED + row * 64u + (uint32_t)i);
        const int16_t whole = (int16_t)(uint16_t)(bits >> 16);
        counts[i] = (row & 3u) == 2u ? extremes[bits & 7u] : (row & 3u) == 3u ? (int16_t)(whole >> 6) : whole;
    }
}

static void put_text(const char *text)
{
    while (*text) {
        port_put(*text++);
    }
}

static void put_number(uint32_t number)
{
    char digits[11];
    int at = 10;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10u);
        number /= 10u;
    } while (number);
    put_text(digits + at);
    port_put(' ');
}

#define RUN(name, NAME)                                                                        \
    static void run_##name(void)                                                               \
    {                                                                                          \
        uint32_t sum = 0, place = 0, row, least = 0xFFFFFFFFu, most = 0;                       \
        int i;                                                                                 \
        put_text(#name " ");                                                                   \
        put_number((uint32_t)name##_selftest(&buffers.name));                                  \
        for (row = 0; row < ROWS; row++) {                                                     \
            uint32_t took;                                                                     \
            make_row(row, NAME##_INPUTS);                                                      \
            port_begin();                                                                      \
            name##_infer(&buffers.name, counts, commands);                                     \
            took = port_stop();                                                                \
            least = took < least ? took : least;                                               \
            most = took > most ? took : most;                                                  \
            for (i = 0; i < NAME##_OUTPUTS; i++) {                                             \
                sum += mixed((place * 0x9E3779B1u) ^ (uint16_t)commands[i]);                   \
                place++;                                                                       \
            }                                                                                  \
        }                                                                                      \
        put_number(sum);                                                                       \
        put_number(least);                                                                     \
        put_number(most);                                                                      \
        port_put('\n');                                                                        \
    }
NETS(RUN)

#define CALL(name, NAME) run_##name();

int main(void)
{
    port_start();
    NETS(CALL)
    port_end();
    return 0;
}
