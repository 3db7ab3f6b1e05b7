/*
 * packet.h - DYNAMIXEL Protocol 2.0 on the wire: packets out, packets in. Knows neither a line nor a clock.
 *
 *   FF FF FD 00  id  length (2)  instruction  parameters ...  CRC-16 (2)        little endian
 *
 * `length` counts from the instruction to the CRC. FF FF FD within the parameters is sent as FF FF FD FD. The CRC has
 * the polynomial 0x8005, begins with 0 and covers everything before it as it is on the line. A status packet is one with
 * the instruction 0x55, whose first parameter is the error.
 */
#ifndef DXL_PACKET_H
#define DXL_PACKET_H

#include <stddef.h>
#include <stdint.h>

#define DXL_BROADCAST 0xFEu
#define DXL_HIGHEST_ID 252u

enum dxl_instruction {
    DXL_PING = 0x01,
    DXL_READ = 0x02,
    DXL_WRITE = 0x03,
    DXL_REBOOT = 0x08,
    DXL_STATUS = 0x55,
    DXL_SYNC_READ = 0x82,
    DXL_SYNC_WRITE = 0x83,
    DXL_BULK_READ = 0x92
};

#define DXL_ALERT 0x80u        /* of the error: the device reports a hardware error */
#define DXL_ERROR_NUMBER 0x7Fu /* of the error: what was wrong with the instruction, or 0 */

#define DXL_HEADER_BYTES 7u       /* before the instruction */
#define DXL_MAX_PACKET 320u       /* that is sent, stuffed */
#define DXL_MAX_DATA 64u          /* of a status packet */
#define DXL_MAX_STATUS 100u       /* of one, stuffed: every third byte of the data may bring another one */

uint16_t dxl_crc(uint16_t crc, const uint8_t *data, size_t length);

/* An instruction packet under construction. */
struct dxl_packet {
    size_t length;
    uint8_t full; /* something did not fit */
    uint8_t bytes[DXL_MAX_PACKET];
};

void dxl_begin(struct dxl_packet *packet, uint8_t id, uint8_t instruction);
void dxl_u8(struct dxl_packet *packet, uint8_t value);
void dxl_u16(struct dxl_packet *packet, uint16_t value);
void dxl_u32(struct dxl_packet *packet, uint32_t value);

/* Length and CRC; 0 if the packet did not fit and must not be sent. */
int dxl_end(struct dxl_packet *packet);

/* A status packet, stuffing removed. */
struct dxl_status {
    uint8_t id;
    uint8_t error;
    size_t length;
    uint8_t data[DXL_MAX_DATA];
};

/* What came over the line and is no packet yet. All zeros at the start. */
struct dxl_receiver {
    size_t used;
    uint32_t bad; /* headers that no intact packet followed */
    uint8_t bytes[DXL_MAX_STATUS];
};

/* Takes a received byte. Call dxl_take() until it returns 0 before the next one. */
void dxl_push(struct dxl_receiver *receiver, uint8_t byte);

/* The next intact status packet: 1, or 0 for none yet. Noise, damaged packets and instruction packets (an echo of our
 * own) are skipped; a packet that begins within a damaged one is found. */
int dxl_take(struct dxl_receiver *receiver, struct dxl_status *status);

/* Gives up on the packet that has begun, for its end will not come; what lies behind its first byte is looked at anew by
 * dxl_take(). */
void dxl_skip(struct dxl_receiver *receiver);

/* Little-endian numbers of a status packet's data. */
uint16_t dxl_get_u16(const uint8_t *data);
int32_t dxl_get_i32(const uint8_t *data);

#endif
