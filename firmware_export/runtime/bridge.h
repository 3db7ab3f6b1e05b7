/*
 * bridge.h - frames on a byte stream: COBS, a zero byte as delimiter, CRC-16 (start value 0xFFFF) behind the payload.
 * The twin of esmaml_robot/bridge/framing.py.
 */
#ifndef BRIDGE_H
#define BRIDGE_H

#include <stddef.h>
#include <stdint.h>

/* A board with little RAM may say less: no message of its robot may be longer (firmware.c checks). */
#ifndef BRIDGE_MAX_PAYLOAD
#define BRIDGE_MAX_PAYLOAD 250
#endif
#define BRIDGE_CRC_BYTES 2
/* COBS adds one byte to anything of up to 254 bytes; the delimiter is one more */
#define BRIDGE_MAX_FRAME (BRIDGE_MAX_PAYLOAD + BRIDGE_CRC_BYTES + 2)

/* Collects one frame. All zero is the start. */
struct bridge_receiver {
    uint8_t buffer[BRIDGE_MAX_FRAME - 1];
    uint16_t used;
    uint8_t too_long; /* the piece does not fit: wait for the next delimiter */
    uint32_t bad;     /* pieces between two delimiters that were no frame; empty ones do not count */
};

/* CRC-16/IBM-3740; of "123456789" it is 0x29B1. */
uint16_t bridge_crc16(const uint8_t *data, size_t length);

/* Takes one byte. Returns the length of a payload (1 to BRIDGE_MAX_PAYLOAD) once the byte completed an intact frame,
 * else 0. The payload is then in receiver->buffer until the next call. */
size_t bridge_receive(struct bridge_receiver *receiver, uint8_t byte);

/* Writes payload (1 to BRIDGE_MAX_PAYLOAD bytes) as a frame to out[BRIDGE_MAX_FRAME]; returns the frame's length, or 0
 * if the payload has another length. */
size_t bridge_frame(const uint8_t *payload, size_t length, uint8_t *out);

#endif
