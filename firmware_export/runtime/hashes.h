/* hashes.h - hashes as they are compiled in, and as they go over the line. */
#ifndef HASHES_H
#define HASHES_H

#include <stdint.h>

/* 16 hexadecimal digits, in ROM (rom.h), as the 8 bytes that they stand for. */
void hash_bytes(const char *digits, uint8_t *bytes);

#endif
