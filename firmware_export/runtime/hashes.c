#include "hashes.h"

#include "rom.h"

static uint8_t nibble(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

void hash_bytes(const char *digits, uint8_t *bytes)
{
    int i;
    for (i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)((nibble(rom_char(&digits[2 * i])) << 4) | nibble(rom_char(&digits[2 * i + 1])));
    }
}
