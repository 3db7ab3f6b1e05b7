/*
 * crc32.h - CRC-32 as zlib has it: of "123456789" it is 0xCBF43926.
 */
#ifndef CRC32_H
#define CRC32_H

#include <stdint.h>

/* Of length bytes; start with 0, and feed in pieces by handing the last result back. */
uint32_t crc32_bytes(uint32_t crc, const uint8_t *data, uint32_t length);

#endif
