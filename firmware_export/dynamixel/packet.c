#include "packet.h"

#include <string.h>

#define ID_AT 4u
#define LENGTH_AT 5u
#define CRC_BYTES 2u
#define SHORTEST 3u /* length of a packet without parameters */

static const uint8_t header[4] = {0xFF, 0xFF, 0xFD, 0x00};

/* Four bits at a time: a sixteenth of the usual table. */
uint16_t dxl_crc(uint16_t crc, const uint8_t *data, size_t length)
{
    static const uint16_t table[16] = {0x0000, 0x8005, 0x800F, 0x000A, 0x801B, 0x001E, 0x0014, 0x8011,
                                       0x8033, 0x0036, 0x003C, 0x8039, 0x0028, 0x802D, 0x8027, 0x0022};
    size_t i;
    for (i = 0; i < length; i++) {
        crc = (uint16_t)((uint16_t)(crc << 4) ^ table[(crc >> 12) ^ (data[i] >> 4)]);
        crc = (uint16_t)((uint16_t)(crc << 4) ^ table[(crc >> 12) ^ (data[i] & 0x0Fu)]);
    }
    return crc;
}

/* ---- out ---- */

static void append(struct dxl_packet *packet, uint8_t byte)
{
    if (packet->length < DXL_MAX_PACKET) {
        packet->bytes[packet->length++] = byte;
    } else {
        packet->full = 1;
    }
}

void dxl_begin(struct dxl_packet *packet, uint8_t id, uint8_t instruction)
{
    packet->full = 0;
    memcpy(packet->bytes, header, sizeof header);
    packet->bytes[ID_AT] = id;
    packet->length = DXL_HEADER_BYTES; /* the length itself is dxl_end()'s */
    append(packet, instruction);
}

void dxl_u8(struct dxl_packet *packet, uint8_t value)
{
    append(packet, value);
    if (packet->length >= DXL_HEADER_BYTES + 3u && memcmp(packet->bytes + packet->length - 3u, header, 3) == 0) {
        append(packet, 0xFD);
    }
}

void dxl_u16(struct dxl_packet *packet, uint16_t value)
{
    dxl_u8(packet, (uint8_t)(value & 0xFFu));
    dxl_u8(packet, (uint8_t)(value >> 8));
}

void dxl_u32(struct dxl_packet *packet, uint32_t value)
{
    dxl_u16(packet, (uint16_t)(value & 0xFFFFu));
    dxl_u16(packet, (uint16_t)(value >> 16));
}

int dxl_end(struct dxl_packet *packet)
{
    const size_t length = packet->length - DXL_HEADER_BYTES + CRC_BYTES;
    uint16_t crc;

    packet->bytes[LENGTH_AT] = (uint8_t)(length & 0xFFu);
    packet->bytes[LENGTH_AT + 1u] = (uint8_t)(length >> 8);
    crc = dxl_crc(0, packet->bytes, packet->length);
    append(packet, (uint8_t)(crc & 0xFFu));
    append(packet, (uint8_t)(crc >> 8));
    return !packet->full;
}

/* ---- in ---- */

void dxl_push(struct dxl_receiver *receiver, uint8_t byte)
{
    if (receiver->used < DXL_MAX_STATUS) { /* always so, once dxl_take() has returned 0 */
        receiver->bytes[receiver->used++] = byte;
    }
}

static void discard(struct dxl_receiver *receiver, size_t count)
{
    receiver->used -= count;
    memmove(receiver->bytes, receiver->bytes + count, receiver->used);
}

/* Drops what cannot be the beginning of a packet. */
static void align(struct dxl_receiver *receiver)
{
    size_t start;
    for (start = 0; start < receiver->used; start++) {
        const size_t left = receiver->used - start;
        if (memcmp(receiver->bytes + start, header, left < sizeof header ? left : sizeof header) == 0) {
            break;
        }
    }
    if (start > 0) {
        discard(receiver, start);
    }
}

/* Instruction and parameters at from[0 .. length - 1], as on the line, into `status`; 0 where they are too long. */
static int unstuff(const uint8_t *from, size_t length, struct dxl_status *status)
{
    size_t i;

    status->error = from[1];
    status->length = 0;
    for (i = 2; i < length; i++) {
        if (i >= 5 && from[i] == 0xFD && memcmp(from + i - 3u, header, 3) == 0) {
            continue;
        }
        if (status->length >= DXL_MAX_DATA) {
            return 0;
        }
        status->data[status->length++] = from[i];
    }
    return 1;
}

int dxl_take(struct dxl_receiver *receiver, struct dxl_status *status)
{
    int taken = 0;

    align(receiver);
    while (!taken && receiver->used >= DXL_HEADER_BYTES) { /* each turn discards something */
        const uint8_t *const bytes = receiver->bytes;
        const size_t length = dxl_get_u16(bytes + LENGTH_AT);
        const size_t whole = DXL_HEADER_BYTES + length;
        const int possible = length >= SHORTEST && whole <= DXL_MAX_STATUS;

        if (possible && receiver->used < whole) {
            return 0;
        }
        if (!possible || dxl_crc(0, bytes, whole - CRC_BYTES) != dxl_get_u16(bytes + whole - CRC_BYTES)) {
            receiver->bad++;
            discard(receiver, 1);
        } else {
            if (bytes[DXL_HEADER_BYTES] == DXL_STATUS && length > SHORTEST) {
                status->id = bytes[ID_AT];
                taken = unstuff(bytes + DXL_HEADER_BYTES, length - CRC_BYTES, status);
            }
            discard(receiver, whole);
        }
        if (!taken) {
            align(receiver);
        }
    }
    return taken;
}

void dxl_skip(struct dxl_receiver *receiver)
{
    if (receiver->used > 0) {
        receiver->bad++;
        discard(receiver, 1);
    }
}

uint16_t dxl_get_u16(const uint8_t *data)
{
    return (uint16_t)(data[0] | (uint16_t)((uint16_t)data[1] << 8));
}

int32_t dxl_get_i32(const uint8_t *data)
{
    const uint32_t bits = (uint32_t)dxl_get_u16(data) | (uint32_t)dxl_get_u16(data + 2) << 16;
    return bits <= 0x7FFFFFFFu ? (int32_t)bits : -(int32_t)(0xFFFFFFFFu - bits) - 1;
}
