#include "crc32.h"

uint32_t crc32_bytes(uint32_t crc, const uint8_t *data, uint32_t length)
{
    uint32_t i;

    crc = ~crc;
    for (i = 0; i < length; i++) {
        unsigned bit;
        crc ^= (uint32_t)data[i];
        for (bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1u) ? (uint32_t)0xEDB88320UL : (uint32_t)0);
        }
    }
    return ~crc;
}
